"""`jevons audit`: what recorded traffic burned, wasted, and what the levers would have saved; nothing is deployed."""

import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from jevons.cli.options import print_json
from jevons.cli.rows import Column, Row, clean, print_rows
from jevons.core.call import Call
from jevons.core.money import show
from jevons.gateway.governing import Tariffs
from jevons.gateway.identify import Identifier
from jevons.levers.cache.breakpoints import Lookup
from jevons.prices.book import Book
from jevons.replay.audit.files import find
from jevons.replay.audit.page import page
from jevons.replay.audit.run import audit
from jevons.replay.audit.sums import KIND_WORDS, LEVER_WORDS, LEVERS, Report, Tally, as_object
from jevons.wire.toplevel import fields

SESSIONS = (
    Column("session", "session"),
    Column("calls", "calls", "count"),
    Column("burned", "burned", "usd", "priced"),
    Column("unpriced", "unpriced calls", "count"),
    Column("prompt", "prompt tokens", "count", "measured"),
    Column("output", "output tokens", "count", "measured"),
    Column("sent", "times each token was sent", "ratio", "estimated"),
    Column("read", "cache reads", "share", "measured"),
    Column("broken", "wasted by breaks", "usd", "estimated"),
    Column("expired", "wasted by expiry", "usd", "estimated"),
    *(Column(f"saved_{lever}", f"{LEVER_WORDS[lever]}", "usd", "modelled") for lever in LEVERS),
)
KINDS = (Column("kind", "tokens"), Column("tokens", "count", "count", "measured"), Column("share", "share", "share"))
LOSSES = (
    Column("reason", "why"),
    Column("times", "times", "count"),
    Column("tokens", "tokens paid for again", "count", "estimated"),
    Column("nano", "cost", "usd", "estimated"),
    Column("fix", "what helps"),
)
SAVINGS = (
    Column("lever", "lever"),
    Column("calls", "calls changed", "count"),
    Column("seen", "calls looked at", "count"),
    Column("nano", "would have saved", "usd", "modelled"),
    Column("share", "of what was burned", "share", "modelled"),
)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "form", flag_value="json", default=None, help="One JSON object with everything.")
@click.option("--csv", "form", flag_value="csv", help="CSV, a line a session and one for all.")
@click.option("--html", "html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots here.")
@click.option("--top", default=15, show_default=True, type=click.IntRange(1, 1000), help="Sessions that are shown.")
@click.option("--overrides", default="", help="A TOML file with prices of your own.")
def command(path: Path, form: str | None, html: Path | None, top: int, overrides: str) -> None:
    """Read logs in PATH (a file or a folder) and say what they burned, wasted and could have saved.

    Reads Claude Code transcripts (~/.claude/projects), logs of OpenAI and Anthropic requests and answers (JSON lines),
    LiteLLM spend logs and Langfuse observations (JSON or CSV), gzip or plain. Nothing leaves this machine. Savings are
    modelled by replay, each lever by itself: they do not add up.
    """
    book = Book.load(overrides)
    tariffs = Tariffs(book)
    lookup = Lookup(terms=tariffs.terms, rates=tariffs.rates)
    identifier = Identifier()

    def identify(call: Call) -> Call:
        return identifier.identify(call, fields(call.body))

    try:
        size = sum(file.stat().st_size for file in find(path))
        with click.progressbar(length=max(1, size), label="reading", file=sys.stderr) as bar:
            report = audit(path, book, lookup, identify, time.time(), bar.update)
        if html is not None:
            html.write_text(page(report, str(path)), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename or path}: {error.strerror}") from None
    if form == "json":
        print_json(as_object(report))
    elif form == "csv":
        print_rows(SESSIONS, [row(tally) for tally in (*report.sessions, report.total)], "csv", "")
    else:
        _print(report, top)
    if html is not None:
        click.echo(f"wrote {html}", err=True)
    if not report.total.calls:
        click.echo("no call was found", err=True)
        raise SystemExit(1)


def row(tally: Tally) -> Row:
    """A session's line."""
    return {
        "session": tally.name,
        "calls": tally.calls,
        "burned": tally.nano if tally.unpriced < tally.calls else None,
        "unpriced": tally.unpriced,
        "prompt": tally.prompt,
        "output": tally.tokens["output"],
        "sent": tally.sent_times,
        "read": tally.read_share,
        "broken": tally.broken_nano,
        "expired": tally.expired_nano,
        **{f"saved_{lever}": tally.saved_nano(lever) for lever in LEVERS},
    }


def _print(report: Report, top: int) -> None:
    total = report.total
    console = Console()
    read = ", ".join(f"{name} ({files} {'file' if files == 1 else 'files'})" for name, files in report.formats.items())
    console.print(Text(f"read: {read or 'nothing'}"))
    sent = f"; each token of context was sent {total.sent_times:.1f} times" if total.sent_times else ""
    console.print(
        Text(
            f"{total.calls:,} calls in {len(report.sessions):,} sessions burned {show(total.nano)}{sent}", style="bold"
        )
    )
    every = sum(total.tokens.values()) or 1
    kinds = [{"kind": KIND_WORDS[kind], "tokens": n, "share": n / every} for kind, n in total.tokens.items()]
    print_rows(KINDS, kinds, None, "what was sent and made")
    losses = [
        {"reason": reason, "times": loss.times, "tokens": loss.tokens, "nano": loss.nano, "fix": loss.fix}
        for reason, loss in sorted(total.lost.items(), key=lambda item: -item[1].nano)
    ]
    if losses:
        print_rows(LOSSES, losses, None, "what was paid for again")
    print_rows(SAVINGS, savings(total), None, "what each lever would have saved by itself", report.notes)
    shown = report.sessions[:top]
    names = {column.key for column in SESSIONS[:10]} - {"unpriced", "output"}
    columns = [column for column in SESSIONS[:10] if column.key in names]
    print_rows(columns, [row(tally) for tally in (*shown, total)], None, "sessions, dearest first")
    _faults(console, report)


def savings(total: Tally) -> list[Row]:
    """A line for each lever; one that had nothing to look at has no figure."""
    found: list[Row] = []
    for lever in LEVERS:
        saved = total.saved.get(lever)
        share = saved.nano / total.nano if saved is not None and total.nano else None
        found.append(
            {
                "lever": LEVER_WORDS[lever],
                "calls": saved.calls if saved else 0,
                "seen": saved.seen if saved else 0,
                "nano": saved.nano if saved else None,
                "share": share,
            }
        )
    return found


def _faults(console: Console, report: Report) -> None:
    """What is not in the figures."""
    for model, calls in report.unpriced.items():
        console.print(
            Text(f"no price for {clean(model)}: calls that are not in the dollars: {calls:,}", style="yellow")
        )
    if report.repeats:
        console.print(
            Text(f"calls that stood in the files more than once and count once: {report.repeats:,}", style="dim")
        )
    for kind, times in report.faults.items():
        places = ", ".join(clean(place) for place in report.places[kind])
        console.print(Text(f"left out: {times:,} x {kind} ({places})", style="yellow"))
