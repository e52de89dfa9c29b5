"""Write prices/data/book.json from an installed genai-prices: `python -m jevons.lab.prices_snapshot`.

The gateway reads the snapshot and never genai-prices itself, which with its data takes 42 MB of the 100 MB that the
whole house may use. What lives here: the conversion, and nothing that decides a price. Rates become integer
pico-dollars per token; finer ones are rounded (26 of 2,330 models had one in version 0.2.3, each the float residue
of a division). Prices that are not per token (searches, audio hours, pages) are left out.
"""

import argparse
import hashlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from genai_prices import types
from genai_prices.data import providers

from jevons.core.money import rate

RATES = {
    "i": "input_mtok",
    "c": "cache_read_mtok",
    "w": "cache_write_mtok",
    "h": "cache_write_1h_mtok",
    "o": "output_mtok",
    "q": "output_reasoning_mtok",
}
"""Our short names: input, cached, cache write, one-hour cache write, output, reasoning."""
TIER_CONTEXTS = ("processing", "service_tier", "speed")
"""Request contexts that name a tier; others (a search type, a router's region) are no tier."""
DEFAULT_FILE = Path(__file__).parents[1] / "prices" / "data" / "book.json"


def clause(match: Any) -> list[Any]:
    """A matching rule as `[operator, operand]`: = ^ $ * ~ for the texts, | and & for lists of rules."""
    match match:
        case types.ClauseEquals():
            return ["=", match.equals.lower()]
        case types.ClauseStartsWith():
            return ["^", match.starts_with.lower()]
        case types.ClauseEndsWith():
            return ["$", match.ends_with.lower()]
        case types.ClauseContains():
            return ["*", match.contains.lower()]
        case types.ClauseRegex():
            return ["~", match.regex]
        case types.ClauseOr():
            return ["|", [clause(inner) for inner in match.or_]]
        case types.ClauseAnd():
            return ["&", [clause(inner) for inner in match.and_]]
    raise TypeError(f"a matching rule that this converter does not know: {match!r}")


def rates(price: types.ModelPrice) -> dict[str, Any]:
    """Rates by short name: an integer, or `[base, [[more than so many prompt tokens, rate], ...]]`."""
    found: dict[str, Any] = {}
    for short, name in RATES.items():
        value = getattr(price, name)
        if isinstance(value, types.TieredPrices):
            found[short] = [int(rate(value.base)), [[tier.start, int(rate(tier.price))] for tier in value.tiers]]
        elif value is not None:
            found[short] = int(rate(value))
    return found


def condition(constraint: Any) -> dict[str, Any]:
    """`f`: the UTC date from which it holds. `h`: the seconds of the UTC day between which it holds."""
    if isinstance(constraint, types.StartDateConstraint):
        return {"f": constraint.start_date.isoformat()}
    if isinstance(constraint, types.TimeOfDateConstraint):
        return {"h": [_second_of_day(constraint.start_time), _second_of_day(constraint.end_time)]}
    return {}


def model(info: types.ModelInfo) -> dict[str, Any] | None:
    """One model, or None when nothing about it is priced by the token."""
    dated = info.prices if isinstance(info.prices, list) else [types.ConditionalPrice(prices=info.prices)]
    prices = [{**condition(entry.constraint), "r": rates(entry.prices)} for entry in dated]
    if not any(entry["r"] for entry in prices):
        return None
    tiers = []
    for variant in info.price_variants or ():
        named = [value for key, value in variant.when.items() if key in TIER_CONTEXTS]
        if len(variant.when) == 1 and named and rates(variant.prices):
            tiers.append({"t": named[0], **condition(variant.constraint), "r": rates(variant.prices)})
    made: dict[str, Any] = {"id": info.id, "m": clause(info.match), "p": prices}
    if tiers:
        made["t"] = tiers
    if info.context_window:
        made["x"] = info.context_window
    if info.deprecated:
        made["d"] = True
    return made


def provider(info: types.Provider) -> dict[str, Any]:
    made: dict[str, Any] = {"models": [found for found in map(model, info.models) if found is not None]}
    if info.fallback_model_providers:
        made["fallback"] = list(info.fallback_model_providers)
    return made


def snapshot() -> bytes:
    """The file's content: one provider a line, so that a new version shows as a readable difference."""
    lines = [
        msgspec.json.encode(info.id) + b":" + msgspec.json.encode(provider(info))
        for info in sorted(providers, key=lambda info: info.id)
    ]
    body = b"{\n" + b",\n".join(lines) + b"\n}"
    aliases = [[info.id, clause(info.provider_match)] for info in providers if info.provider_match is not None]
    head = {
        "source": "genai-prices",
        "version": version("genai-prices"),
        "sha256": hashlib.sha256(body).hexdigest(),
        "aliases": aliases,
    }
    return msgspec.json.encode(head)[:-1] + b',"providers":' + body + b"}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the price book's snapshot from the installed genai-prices.")
    parser.add_argument("--out", type=Path, default=DEFAULT_FILE)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not up to date")
    options = parser.parse_args()
    content = snapshot()
    if options.check:
        if not options.out.exists() or options.out.read_bytes() != content:
            sys.exit(f"{options.out} is not what genai-prices {version('genai-prices')} gives: run `make prices`")
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(content)
    print(f"{options.out}: {len(content) / 1024:.0f} KiB from genai-prices {version('genai-prices')}", file=sys.stderr)


def _second_of_day(moment: Any) -> int:
    return int(moment.hour * 3600 + moment.minute * 60 + moment.second)


if __name__ == "__main__":
    main()
