"""An audit as one page: plots and tables in HTML, SVG and CSS, without scripts and without any other file or host.

What lives here: how it looks. What it must not know: how a figure was found. All names in it come from recordings and
are escaped; the page's own policy forbids everything but its style.
"""

from collections.abc import Sequence
from html import escape

from jevons.core.money import NANO_PER_DOLLAR, show
from jevons.replay.audit.sums import KIND_WORDS, LEVER_WORDS, LEVERS, Report, Tally

MOST_BARS, MOST_ROWS = 20, 100
LABEL, WIDTH, NUMBER, LINE = 230, 860, 120, 28
"""Pixels: names, the whole drawing, numbers at the right, one bar's height."""
NAME = 27
"""Characters of a name beside a bar; the whole stands in its tip."""
COLOURS = {"input": "c1", "cached": "c0", "cache_write_5m": "c3", "cache_write_1h": "c4", "output": "c2"}

Bar = tuple[str, float, str, str]
"""(name, size, its number in words, colour class)."""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--line:#dfe3e8;--text:#1b2430;--quiet:#55606e;
--c0:#2f78ad;--c1:#b4540a;--c2:#2c8a5f;--c3:#8a63b8;--c4:#a8790a;--bad:#b3261e;--warn:#fff6e0}
@media(prefers-color-scheme:dark){:root{--ground:#11161c;--card:#19212a;--line:#2d3844;--text:#e6ebf1;--quiet:#a3afbc;
--c0:#5aa9dd;--c1:#e9914a;--c2:#55b98a;--c3:#b694e0;--c4:#d9b04a;--bad:#ff8a80;--warn:#2e2712}}
*{box-sizing:border-box}
html{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
body{margin:0;background:var(--ground);color:var(--text)}
main{max-width:1000px;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:0 0 .25rem}
p{margin:.3rem 0}.quiet{color:var(--quiet);font-size:.87rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem;margin-top:1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:.75rem;margin-top:1rem}
.tiles section{margin:0;padding:.75rem 1rem}.tiles b{display:block;font-size:1.35rem;font-weight:650;
font-variant-numeric:tabular-nums}
.tag{font-size:.75rem;border:1px solid var(--line);border-radius:4px;padding:0 .35rem;color:var(--quiet);
vertical-align:middle;font-weight:400}
svg{width:100%;min-width:600px;height:auto;display:block;margin-top:.5rem;font-size:13px}svg text{fill:var(--text)}
.number{font-variant-numeric:tabular-nums}.axis{stroke:var(--line)}
.c0{fill:var(--c0)}.c1{fill:var(--c1)}.c2{fill:var(--c2)}.c3{fill:var(--c3)}.c4{fill:var(--c4)}.bad{fill:var(--bad)}
.modelled{fill:var(--c2);fill-opacity:.25;stroke:var(--c2);stroke-width:1.5;stroke-dasharray:4 3}
.dearer{fill:var(--bad);fill-opacity:.25;stroke:var(--bad);stroke-width:1.5;stroke-dasharray:4 3}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.87rem}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;
font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--quiet);white-space:normal;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;max-width:260px;overflow:hidden;text-overflow:ellipsis}
td.words{text-align:left;white-space:normal;min-width:200px}
ul{margin:.3rem 0;padding-left:1.2rem}.warn{background:var(--warn)}
"""


def page(report: Report, source: str) -> str:
    """The whole document. `source`: what was read, for its heading."""
    total = report.total
    read = ", ".join(f"{name} ({files:,})" for name, files in report.formats.items())
    parts = [
        f"<header><h1>What was burned</h1><p class=quiet>{escape(source)} · {escape(read)}</p></header>",
        _tiles(report),
        _sessions(report.sessions),
        _kinds(total),
        _losses(total),
        _savings(total),
        _table(report.sessions),
        _left_out(report),
        f"<p class=quiet>Prices: {escape(report.price_book)}. Made by <code>jevons audit</code>.</p>",
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>jevons audit</title>'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _tiles(report: Report) -> str:
    total = report.total
    found = (
        ("burned", show(total.nano), "priced"),
        ("calls", f"{total.calls:,}", ""),
        ("sessions", f"{len(report.sessions):,}", ""),
        ("a token was sent", f"{total.sent_times:.1f}x" if total.sent_times else "-", "estimated"),
        ("read from caches", f"{total.read_share:.0%}" if total.read_share is not None else "-", "of prompt tokens"),
        ("paid for again", show(total.broken_nano + total.expired_nano), "estimated"),
    )
    tiles = [
        f"<section><span class=quiet>{name}</span><b>{escape(value)}</b>"
        f"<span class=quiet>{note or '&nbsp;'}</span></section>"
        for name, value, note in found
    ]
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _sessions(sessions: Sequence[Tally]) -> str:
    shown = [tally for tally in sessions if tally.nano][:MOST_BARS]
    found = [(tally.name, tally.nano / NANO_PER_DOLLAR, show(tally.nano), "c0") for tally in shown]
    more = len(sessions) - len(shown)
    note = f"The {len(shown)} dearest of {len(sessions):,}." if more else ""
    return _section("Dollars per session", "priced from usage", note, bars("Dollars per session", found))


def _kinds(total: Tally) -> str:
    every = sum(total.tokens.values()) or 1
    found = [(KIND_WORDS[k], float(n), f"{n:,} ({n / every:.1%})", COLOURS[k]) for k, n in total.tokens.items()]
    return _section("Tokens by kind", "measured", "", bars("Tokens by kind", found, number=190))


def _losses(total: Tally) -> str:
    ranked = sorted(total.lost.items(), key=lambda item: -item[1].nano)
    if not ranked:
        return _section("Paid for again", "estimated", "No prefix was seen to break or to expire.", "")
    found = [
        (reason, loss.nano / NANO_PER_DOLLAR, f"{show(loss.nano)}, {loss.times:,}x", "bad") for reason, loss in ranked
    ]
    fixes = "".join(f"<li><b>{escape(reason)}</b>: {escape(loss.fix)}</li>" for reason, loss in ranked if loss.fix)
    note = "Tokens that a cache held, and that were written or sent again."
    return _section(
        "Paid for again",
        "estimated",
        note,
        bars("Cost of lost prefixes", found, number=150) + f"<ul class=quiet>{fixes}</ul>",
    )


def _savings(total: Tally) -> str:
    found, silent = [], []
    for lever in LEVERS:
        saved = total.saved.get(lever)
        name = f"{LEVER_WORDS[lever]}"
        if saved is None:
            silent.append(name)
            continue
        share = f" ({saved.nano / total.nano:.1%})" if total.nano else ""
        colour = "modelled" if saved.nano >= 0 else "dearer"
        found.append((name, abs(saved.nano) / NANO_PER_DOLLAR, f"{show(saved.nano)}{share}, modelled", colour))
    note = "By replay, each lever by itself: the figures do not add up."
    if silent:
        note += f" Nothing to look at for: {', '.join(silent)}."
    return _section("Savings by lever", "modelled", note, bars("Savings by lever, modelled", found, number=220))


def _table(sessions: Sequence[Tally]) -> str:
    heads = ("session", "calls", "burned", "prompt tokens", "output tokens", "sent", "cache reads", "breaks", "expiry")
    lines = []
    for tally in sessions[:MOST_ROWS]:
        priced = tally.unpriced < tally.calls
        cells = (
            f"{tally.calls:,}",
            show(tally.nano) if priced else "-",
            f"{tally.prompt:,}",
            f"{tally.tokens['output']:,}",
            f"{tally.sent_times:.1f}x" if tally.sent_times else "-",
            f"{tally.read_share:.0%}" if tally.read_share is not None else "-",
            show(tally.broken_nano),
            show(tally.expired_nano),
        )
        name = escape(tally.name)
        figures = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><td title="{name}">{escape(short(tally.name))}</td>{figures}</tr>')
    head = "".join(f"<th>{name}</th>" for name in heads)
    table = f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    note = f"The {MOST_ROWS} dearest of {len(sessions):,}." if len(sessions) > MOST_ROWS else ""
    return _section("Sessions", "", note, table)


def _left_out(report: Report) -> str:
    lines = [
        f"no price for {model}: calls that are not in the dollars: {calls:,}"
        for model, calls in report.unpriced.items()
    ]
    lines += [f"{n:,} x {kind} ({', '.join(report.places[kind])})" for kind, n in report.faults.items()]
    lines += (
        [f"calls that stood in the files more than once and count once: {report.repeats:,}"] if report.repeats else []
    )
    lines += report.notes
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section class=warn><h2>What is not in the figures, and how they were made</h2><ul>{items}</ul></section>"


def _section(title: str, basis: str, note: str, body: str) -> str:
    tag = f" <span class=tag>{basis}</span>" if basis else ""
    words = f"<p class=quiet>{escape(note)}</p>" if note else ""
    return f"<section><h2>{title}{tag}</h2>{words}{body}</section>"


def short(name: str) -> str:
    """A name that fits beside a bar: its start and its end, where sub-agents differ."""
    return name if len(name) <= NAME else f"{name[: NAME - 13]}…{name[-12:]}"


def bars(title: str, found: Sequence[Bar], number: int = NUMBER) -> str:
    """Horizontal bars under each other, each with its number behind it."""
    if not found:
        return ""
    most = max(size for _, size, _, _ in found) or 1.0
    room = WIDTH - LABEL - number
    marks = []
    for index, (name, size, words, colour) in enumerate(found):
        y = index * LINE
        wide = max(4.0, size / most * room)
        marks.append(
            f"<g><title>{escape(name)}: {escape(words)}</title>"
            f'<text x="0" y="{y + 19}">{escape(short(name))}</text>'
            f'<rect class="{colour}" x="{LABEL}" y="{y + 6}" width="{wide:.1f}" height="17" rx="2"/>'
            f'<text class="number" x="{LABEL + wide + 8:.1f}" y="{y + 19}">{escape(words)}</text></g>'
        )
    height = len(found) * LINE + 4
    axis = f'<line class="axis" x1="{LABEL}" x2="{LABEL}" y1="0" y2="{height}"/>'
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return f"<div class=scroll>{head}{axis}{''.join(marks)}</svg></div>"
