"""Money is an integer number of nano-dollars; rates are integer pico-dollars per token.

What lives here: the two units and the only places where they are rounded or printed.
One dollar per million tokens is 1,000,000 pico-dollars per token, so every published price is a whole number.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NewType

Nano = NewType("Nano", int)
"""1e-9 US dollars."""

PicoPerToken = NewType("PicoPerToken", int)
"""1e-12 US dollars per token: a price of $1 per million tokens is 1_000_000."""

NANO_PER_DOLLAR = 1_000_000_000
PICO_PER_NANO = 1_000
ZERO = Nano(0)


def nano(dollars: Decimal | str | float) -> Nano:
    """Dollars to nano-dollars, half to even. A float goes through its shortest decimal form, so 0.1 is a tenth."""
    exact = dollars if isinstance(dollars, Decimal) else Decimal(str(dollars))
    return Nano(int((exact * NANO_PER_DOLLAR).to_integral_value(ROUND_HALF_EVEN)))


def rate(dollars_per_million_tokens: Decimal | str | float) -> PicoPerToken:
    """A published price to a rate. Finer than a pico-dollar per token is rounded half to even."""
    price = dollars_per_million_tokens
    exact = price if isinstance(price, Decimal) else Decimal(str(price))
    return PicoPerToken(int((exact * 1_000_000).to_integral_value(ROUND_HALF_EVEN)))


def from_pico(pico: int) -> Nano:
    """Pico-dollars to nano-dollars, half up: the one rounding of a price calculation, applied to its sum."""
    return Nano((pico + PICO_PER_NANO // 2) // PICO_PER_NANO)


def show(amount: int) -> str:
    """Nano-dollars for people: `$0.000123`, `$1.23`, `-$4.00`; small sums keep three significant digits."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if size >= NANO_PER_DOLLAR or size == 0:
        return f"{sign}${Decimal(size) / NANO_PER_DOLLAR:,.2f}"
    digits = max(4, 11 - len(str(size)))
    return f"{sign}${Decimal(size) / NANO_PER_DOLLAR:.{digits}f}"
