"""Which file to deploy: intervals, the Pareto front and one recommendation with its reason. Pure arithmetic.

What must not be here: how anything was measured.
"""

import math
from collections.abc import Sequence

import msgspec
from scipy.special import stdtrit

MAX_KLD = 0.1
"""Nats a token that a recommended file may lose at most (its interval's high end), where no task file decides.
Between q4_k_m's .08 and q4_0's .34 in the first table measured with the default model."""
MAX_KV_KLD = 0.02
MIN_KV_SAME_TOP = 0.95
"""What a KV type below q8_0 must keep (the intervals' bad ends): q8_0 itself loses .004 nats and keeps .97."""
SCORE_MARGIN = 0.05
"""How much lower than the best-precision file's a task score may be, at the paired interval's low end."""
PRICE_TIE = 0.05
"""Prices closer than this are one price: two runs of the same file differ by as much."""
LEVEL = 0.95


class Interval(msgspec.Struct, frozen=True):
    mean: float
    se: float
    low: float
    high: float


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """What the choice looks at."""

    name: str
    kld: Interval
    usd_per_mtok: float
    """Of a mix of prompt and answer."""
    score_lost: Interval | None = None
    """The best-precision file's task score minus this one's, paired by task."""
    reference: bool = False


class Choice(msgspec.Struct, frozen=True):
    name: str
    reason: str
    front: tuple[str, ...]
    """Files that no other beats in both divergence and price."""


def interval(values: Sequence[float]) -> Interval:
    """Mean with Student's 95% interval; values must be independent (windows, tasks), not tokens.

    With fewer than two values the interval is the whole line's: no spread is known.
    """
    count = len(values)
    if not count:
        return Interval(0.0, math.inf, -math.inf, math.inf)
    mean = sum(values) / count
    if count < 2:
        return Interval(mean, math.inf, -math.inf, math.inf)
    se = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * se
    return Interval(mean, se, mean - reach, mean + reach)


def front(rungs: Sequence[Rung]) -> tuple[str, ...]:
    """Names on the Pareto front of (divergence, price), best quality first."""

    def beaten(one: Rung) -> bool:
        return any(
            other.kld.mean <= one.kld.mean
            and other.usd_per_mtok <= one.usd_per_mtok
            and (other.kld.mean < one.kld.mean or other.usd_per_mtok < one.usd_per_mtok)
            for other in rungs
        )

    return tuple(one.name for one in sorted(rungs, key=lambda one: one.kld.mean) if not beaten(one))


def choose(rungs: Sequence[Rung], *, max_kld: float = MAX_KLD) -> Choice:
    """The cheapest file whose loss is known to be small: by the task score where there is one, else by divergence.

    Files within PRICE_TIE of the cheapest count as equally cheap, and the one closest to the reference wins.
    """
    scored = any(one.score_lost is not None for one in rungs)
    fit = [one for one in rungs if one.reference or _fit(one, max_kld)]
    cheapest = min(one.usd_per_mtok for one in fit)
    picked = min((one for one in fit if one.usd_per_mtok <= cheapest * (1 + PRICE_TIE)), key=lambda one: one.kld.mean)
    reference = next(one for one in rungs if one.reference)
    bar = f"a task score at most {SCORE_MARGIN} lower" if scored else f"at most {max_kld} nats of divergence"
    refused = [one.name for one in rungs if one not in fit]
    if picked.reference:
        reason = f"the best-precision file: no cheaper one keeps {bar} (95%)"
    else:
        saved = 1 - picked.usd_per_mtok / reference.usd_per_mtok
        price = f"{saved:.0%} cheaper than {reference.name}" if saved > 0 else f"the cheapest that keeps {bar}"
        reason = f"{price}, with {bar} at 95% (KLD {picked.kld.mean:.4f}, up to {picked.kld.high:.4f})"
    if refused:
        reason += f"; refused: {', '.join(refused)}"
    return Choice(picked.name, reason, front(rungs))


def _fit(one: Rung, max_kld: float) -> bool:
    if one.score_lost is not None:
        return one.score_lost.high <= SCORE_MARGIN
    return one.kld.high <= max_kld


def kv_passes(kld: Interval, same_top: Interval) -> bool:
    """Whether a KV type below q8_0 may be used with this model."""
    return kld.high <= MAX_KV_KLD and same_top.low >= MIN_KV_SAME_TOP


def plot(rungs: Sequence[Rung], chosen: Choice) -> str:
    """An SVG of divergence (log scale) against price; the front is filled, the choice named in bold."""
    width, height, left, top = 720, 400, 70, 20
    floor = min((one.kld.mean for one in rungs if one.kld.mean > 0), default=1e-3) / 2
    losses = [math.log10(max(one.kld.mean, floor)) for one in rungs]
    prices = [one.usd_per_mtok for one in rungs]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>'
        ),
        f'<path d="M{left} {top}V{height - 50}H{width - 20}" fill="none" stroke="black"/>',
        f'<text x="{left}" y="{height - 15}">dollars per million tokens (mix)</text>',
        f'<text x="15" y="{height // 2}" transform="rotate(-90 15 {height // 2})">KL divergence, nats (log)</text>',
    ]
    for one, loss in zip(rungs, losses, strict=True):
        x = left + 20 + _share(one.usd_per_mtok, prices) * (width - left - 220)
        y = height - 70 - _share(loss, losses) * (height - 120)
        fill = "black" if one.name in chosen.front else "white"
        weight = "bold" if one.name == chosen.name else "normal"
        label = one.name.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{fill}" stroke="black"/>')
        parts.append(f'<text x="{x + 9:.0f}" y="{y + 4:.0f}" font-weight="{weight}">{label}</text>')
    return "".join([*parts, "</svg>\n"])


def _share(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return 0.5 if high == low else (value - low) / (high - low)
