"""Batch and local engines: what this machine burned itself, what went to batch tiers, and which engines are named."""

from jevons.store import pages, rollups
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts.time import Series
from jevons.web.figure import Figure, Page, Table, number, text
from jevons.web.screens import parts
from jevons.web.screens.savings import lines

NO_LOCAL = (
    "No call was answered on this machine in this time. Ask for the model `local`; `jevons model fetch` gets the "
    "default one."
)


def build(ask: Ask) -> Page:
    """The page."""
    local = pages.local_models(ask.db)
    groups = rollups.by(ask.db, ("served_model",), ask.since, ask.now, limit=rollups.MOST_ROWS)
    rows = tuple(
        (
            text(group.key[0]),
            *parts.group_cells(group.sums),
            number(words.seconds(group.sums.duration_s / group.sums.calls), group.sums.duration_s / group.sums.calls),
            number(
                f"{group.sums.output / group.sums.duration_s:.1f}" if group.sums.duration_s else "–",
                group.sums.output / group.sums.duration_s if group.sums.duration_s else None,
            ),
        )
        for group in groups
        if group.key[0] in local
    )
    calls, saved = lines(ask).get("batch", (0, 0))
    return Page(
        template="engines.html",
        title="Batch and local engines",
        context={"batch_calls": calls, "batch_saved": saved, "batch_models": pages.batch_tiers(ask.db)},
        figures={"local": over_time(ask, [row[0].text for row in rows])},
        tables={
            "local": Table(
                id="local",
                title="Answered on this machine",
                rows=rows,
                empty=NO_LOCAL,
                heads=("model", *parts.GROUP_HEADS, "a call lasts", "output tokens/s"),
            ),
            "engines": engines(ask),
        },
    )


def over_time(ask: Ask, models: list[str]) -> Figure:
    """Calls to local models by bucket."""
    grain = parts.grain_of(ask)
    found = {
        model: rollups.over_time(ask.db, ask.since, ask.now, where={"served_model": model}, grain=grain)
        for model in models[: parts.MOST_COLOURS]
    }
    every = sorted({point.at for points in found.values() for point in points})
    times = list(range(every[0], every[-1] + 1, grain)) if every else []
    series = []
    for index, (model, points) in enumerate(found.items()):
        known = {point.at: float(point.sums.calls) for point in points}
        series.append(Series(model, f"c{index}", tuple(known.get(at, 0.0) for at in times)))
    return parts.stacked("local-calls", "Calls to local models", times, grain, series, words.count, words.count)


def engines(ask: Ask) -> Table:
    """Providers that are local, as the gateway named them when the dashboard started."""
    rows = [
        (text(each.name), text(each.base_url), text(", ".join(each.models) or "–"))
        for each in ask.options.providers
        if each.local
    ]
    return Table(
        id="engines",
        title="Local engines",
        heads=("engine", "address", "models"),
        rows=tuple(rows),
        empty="The gateway had no local engine when this page's process started.",
    )
