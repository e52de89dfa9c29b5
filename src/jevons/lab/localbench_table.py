"""The bench's tables for people. What must not be here: figures that are computed here."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table

from jevons.lab.localbench import Bench
from jevons.lab.localbench_choose import Interval
from jevons.lab.localbench_engines import Imported


def show(found: Bench, imported: Sequence[Imported] = ()) -> None:
    """Quality, cost and KV types, then the front and the recommendation."""
    console = Console()
    _quality(found, console)
    _cost(found, imported, console)
    kv = Table("KV type", "bytes/token", "KLD (95%)", "same top (95%)", "may be used", box=None)
    for one in found.kv:
        kv.add_row(
            one.kv_type,
            f"{one.bytes_per_token:,}",
            _span(one.kld, 4),
            _span(one.same_top, 3),
            "yes" if one.usable else "no",
        )
    console.print(kv)
    console.print(f"energy: {found.rows[0].energy.source}")
    console.print(f"on the front of divergence and price: {', '.join(found.choice.front)}")
    console.print(f"[bold]deploy {found.choice.name}[/bold]: {found.choice.reason}")


def _quality(found: Bench, console: Console) -> None:
    table = Table(
        Column("file", overflow="fold"), "bits/weight", "MiB", "resident MiB", "perplexity (95%)", "KLD (95%)",
        "same top (95%)", "task score", box=None,
    )  # fmt: skip
    for row in found.rows:
        table.add_row(
            row.name + (" *" if row.reference else ""),
            f"{row.bits_per_weight:.3f}",
            f"{row.file_bytes / 2**20:,.0f}",
            f"{row.resident_bytes / 2**20:,.0f}",
            f"{row.perplexity:.2f} ({row.perplexity_low:.2f} to {row.perplexity_high:.2f})",
            "0" if row.reference else _span(row.kld, 4),
            "1" if row.reference else _span(row.same_top, 3),
            _span(row.score, 3) if row.score else "",
        )
    console.print(table)
    console.print(f"* the reference; {found.text_tokens:,} tokens scored over the whole vocabulary")


def _cost(found: Bench, imported: Sequence[Imported], console: Console) -> None:
    table = Table(
        Column("file", overflow="fold"), "prefill tok/CPU-s", "decode tok/CPU-s at 1 2 4 8", "fit (sequences)",
        "$/Mtok in", "$/Mtok out", "J/ktok out", box=None,
    )  # fmt: skip
    for row in found.rows:
        table.add_row(
            row.name,
            f"{row.prefill_tok_per_cpu_s:,.0f}",
            " ".join(f"{value:,.0f}" for value in row.decode_tok_per_cpu_s.values()),
            " ".join(f"{kind} {count:,}" for kind, count in row.sequences_that_fit.items()),
            f"{row.usd_per_mtok_in:.4f}",
            f"{row.usd_per_mtok_out:.4f}",
            row.energy.joules_per_ktok_out.show("J"),
        )
    for one in imported:
        table.add_row(
            one.name, "", f"{one.output_tok_per_s:,.0f} tok/s at {one.concurrency or 'open'}", "",
            f"{one.usd_per_mtok_all:.4f} (all)", f"{one.usd_per_mtok_out:.4f}", "",
        )  # fmt: skip
    console.print(table)


def _span(value: Interval, digits: int) -> str:
    if value.high == float("inf"):
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
