"""Cache and trim: what was served without burning, how much of the prompts providers' caches held, and what trimming
took out; by call site, with what its misses cost."""

from jevons.store import rollups
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts.time import Series
from jevons.web.figure import Fact, Figure, Page, Table, number, text
from jevons.web.screens import parts
from jevons.web.screens.savings import lines, name_of

PAGE = 100
CACHES = ("exact", "semantic", "toolresults", "breakpoints")
TRIMS = ("trim", "tools")


def build(ask: Ask) -> Page:
    """The page."""
    total = rollups.total(ask.db, ask.since, ask.now)
    prompt = total.input + total.cached + total.cache_write_5m + total.cache_write_1h
    written = total.cache_write_5m + total.cache_write_1h
    found = lines(ask)
    saved = {
        name: sum(found.get(line, (0, 0))[1] for line in group)
        for name, group in (("caches", CACHES), ("trims", TRIMS))
    }
    facts = [
        Fact(
            name="served without burning",
            value=words.share(total.hits, total.calls),
            basis="measured",
            note=f"{words.count(total.hits)} of {words.plural(total.calls, 'call')}",
        ),
        Fact(
            name="prompt read from provider caches",
            value=words.share(total.cached, prompt),
            basis="measured",
            note=f"of {words.count(prompt)} tokens",
        ),
        Fact(
            name="reads for each token written",
            value=f"{total.cached / written:.1f}" if written else "–",
            note="a 5-minute write pays from the first read on",
        ),
        Fact(
            name="saved by our caches and trimming",
            value=words.money(saved["caches"] + saved["trims"]),
            basis="modelled",
            note=f"trimming {words.money(saved['trims'])}",
        ),
    ]
    return Page(
        template="cache.html",
        title="Cache and trim",
        context={"facts": facts},
        figures={"rates": rates(ask), "tokens": parts.tokens_over_time(ask)},
        tables={"sites": sites(ask), "levers": levers(ask)},
    )


def rates(ask: Ask) -> Figure:
    """Both rates by bucket."""
    grain = parts.grain_of(ask)
    points = rollups.over_time(ask.db, ask.since, ask.now, grain=grain)
    times = parts.buckets(points, ask, grain)
    known = {point.at: point.sums for point in points}
    held: list[float | None] = []
    served: list[float | None] = []
    for at in times:
        sums = known.get(at)
        prompt = sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h if sums else 0
        held.append(100 * sums.cached / prompt if sums and prompt else None)
        served.append(100 * sums.hits / sums.calls if sums and sums.calls else None)
    series = [
        Series("prompt from provider caches", "c2", tuple(held)),
        Series("served without burning", "c1", tuple(served)),
    ]
    return parts.line("rates", "Cache rates", times, grain, series, lambda value: f"{value:.0f}%")


def sites(ask: Ask) -> Table:
    """Call sites by prompt tokens that no cache held: where a broken prefix costs most."""
    groups = rollups.by(ask.db, ("site", "served_model"), ask.since, ask.now, order="input", limit=PAGE)
    rows = []
    for group in groups:
        sums = group.sums
        prompt = sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h
        rows.append(
            (
                text(group.key[0] or "–"),
                text(group.key[1] or "–"),
                number(words.count(sums.calls), sums.calls),
                number(words.count(sums.input), sums.input),
                number(
                    words.count(sums.cache_write_5m + sums.cache_write_1h), sums.cache_write_5m + sums.cache_write_1h
                ),
                number(words.count(sums.cached), sums.cached),
                number(words.share(sums.cached, prompt), None),
                number(words.count(sums.hits), sums.hits),
                parts.cost_cell(sums),
            )
        )
    heads = ("call site", "model", "calls", "not cached", "written", "read", "read of prompt", "hits", "dollars")
    return Table(
        id="sites", title="Call sites, most uncached prompt first", heads=heads, rows=tuple(rows), empty=parts.NO_CALLS
    )


def levers(ask: Ask) -> Table:
    """What caches and trimming are credited with."""
    found = lines(ask)
    rows = [
        (
            text(name_of(line)),
            number(words.count(found[line][0]), found[line][0]),
            number(words.money(found[line][1]), found[line][1] / 1e9),
        )
        for line in (*CACHES, *TRIMS)
        if line in found
    ]
    return Table(
        id="levers",
        title="Caches and trimming, credited",
        heads=("lever", "calls", "saved (modelled)"),
        rows=tuple(rows),
        empty="Neither a cache of ours nor trimming has acted in this time. The exact cache acts at temperature 0; "
        "the others where a plan allows them.",
    )
