"""What is summed over operations, and the statements that add to a rollup and to a task.

A measure vector is a list in the order of MEASURES. Operations whose cost is unknown are counted in `unpriced` and
add nothing to `cost_nano`; a saving may be read only from `baseline_nano - compared_cost_nano`, which sum over the
same operations. Pure: no connection, no clock.
"""

from jevons.ledger.operation import Operation

MEASURES = (
    "calls",
    "errors",
    "hits",
    "unpriced",
    "cost_nano",
    "compared",
    "compared_cost_nano",
    "baseline_nano",
    "duration_s",
    "input",
    "cached",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
)
MINUTE, HOUR, DAY = 60, 3600, 86_400
HITS = frozenset({"hit", "coalesced", "semantic"})

Vector = list[int | float]
Key = tuple[int, int, int]
"""(grain in seconds, bucket's start in Unix seconds, series)."""

_COLUMNS = ", ".join(MEASURES)
_MARKS = ", ".join("?" for _ in MEASURES)
ADD_TO_ROLLUP = (
    f"INSERT INTO rollups (grain, bucket, series, {_COLUMNS}) VALUES (?, ?, ?, {_MARKS}) "  # noqa: S608 - constants
    "ON CONFLICT (grain, bucket, series) DO UPDATE SET "
    + ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in MEASURES)
)
ADD_TO_TASK = (
    "UPDATE tasks SET ended = CASE WHEN ended < ? THEN ? ELSE ended END, "  # noqa: S608 - constants
    + ", ".join(f"{name} = {name} + ?" for name in MEASURES)
    + " WHERE id = ?"
)
NEW_TASK = (
    "INSERT INTO tasks (tenant, task, source, parent, name, customer, plan, arm, started, ended, "  # noqa: S608
    f"{_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {', '.join('0' for _ in MEASURES)}) "
    "ON CONFLICT (tenant, task) DO NOTHING"
)


def measure(operation: Operation) -> Vector:
    """One operation as a vector."""
    cost: int | None = 0
    plain = cached = write_5m = write_1h = output = reasoning = 0
    for attempt in operation.attempts:
        usage = attempt.usage
        plain += usage.input
        cached += usage.cached
        write_5m += usage.cache_write_5m
        write_1h += usage.cache_write_1h
        output += usage.output
        reasoning += usage.reasoning
        cost = None if cost is None or attempt.cost_nano is None else cost + attempt.cost_nano
    baseline = operation.baseline_nano
    compared = cost is not None and baseline is not None
    return [
        1,
        1 if operation.status >= 400 or operation.error else 0,
        1 if operation.cache in HITS else 0,
        1 if cost is None else 0,
        cost or 0,
        1 if compared else 0,
        (cost or 0) if compared else 0,
        (baseline or 0) if compared else 0,
        operation.duration_s,
        plain,
        cached,
        write_5m,
        write_1h,
        output,
        reasoning,
    ]


def add(total: Vector, more: Vector) -> Vector:
    return [a + b for a, b in zip(total, more, strict=True)]


def fold(minutes: dict[tuple[int, int], Vector]) -> dict[Key, Vector]:
    """Vectors by (minute's start, series) to the three grains that are kept."""
    folded: dict[Key, Vector] = {}
    for (minute, series), vector in minutes.items():
        for grain in (MINUTE, HOUR, DAY):
            key = (grain, minute - minute % grain, series)
            total = folded.get(key)
            folded[key] = vector if total is None else add(total, vector)
    return folded
