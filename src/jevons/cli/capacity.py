"""`jevons capacity`: what a model needs, what fits, and what a token costs against batch and context."""

import json
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.burn import capacity, materials, shape
from jevons.burn.band import Band
from jevons.burn.rates import device, devices_for
from jevons.burn.roofline import Setup
from jevons.burn.tables import Shape, Tables, load
from jevons.core.errors import JevonsError
from jevons.core.money import nano, show

GB = 1e9


@click.command()
@click.argument("model", required=False)
@click.option("--hardware", default="h100", show_default=True, help="Accelerator (or cpu); see --list.")
@click.option(
    "--devices", type=click.IntRange(1, 4096), help="Accelerators of one replica (default: what the weights need)."
)
@click.option("--params", "params", help="For a model that is not listed: TOTAL or TOTAL:ACTIVE billions.")
@click.option("--weights", default="bfloat16", show_default=True, help="Precision of the weights.")
@click.option("--kv", default="bfloat16", show_default=True, help="Precision of the KV cache.")
@click.option("--block-scaled", is_flag=True, help="FP8 weights with a scale per block (Qwen3, DeepSeek).")
@click.option("--context", type=int, default=4096, show_default=True, help="Tokens held per sequence.")
@click.option("--batch", "batches", type=int, multiple=True, help="Sequences at once; repeat for several.")
@click.option(
    "--prompt-ratio", type=float, default=0.0, show_default=True, help="Prompt tokens prefilled per token produced."
)
@click.option("--usd-hour", help="Price of a device-hour: USD, or LOW,MID,HIGH.")
@click.option("--materials", "show_materials", is_flag=True, help="What an accelerator-hour pays for, as shares.")
@click.option(
    "--shock", "shocks", multiple=True, help="A price change: hbm=1.5, electricity=2, hour=0.7. Repeat to combine."
)
@click.option("--plan", "plans", multiple=True, help="With --shock: NAME=REVENUE:COST in USD, for the plan's margin.")
@click.option("--rented", is_flag=True, help="With --plan: the cost is a provider's price, which may not follow.")
@click.option("--list", "listing", is_flag=True, help="Known models and hardware.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    model: str | None,
    hardware: str,
    devices: int | None,
    params: str | None,
    weights: str,
    kv: str,
    block_scaled: bool,
    context: int,
    batches: Sequence[int],
    prompt_ratio: float,
    usd_hour: str | None,
    show_materials: bool,
    shocks: Sequence[str],
    plans: Sequence[str],
    rented: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Memory, throughput, $/Mtok and J/token of MODEL on hardware, each with its band.

    Examples: `jevons capacity llama-3.1-70b --devices 4 --batch 8 --batch 898`,
    `jevons capacity --params 120:5 --hardware b200`, `jevons capacity --materials --shock hbm=1.5`.
    """
    tables = load()
    try:
        if listing:
            _emit({"models": sorted(tables.shapes.models), "hardware": list(tables.hardware.devices)}, as_json)
            return
        result: dict[str, Any] = {}
        if model or params:
            outline = _outline(model, params, tables)
            unit = device(hardware, tables)
            setup = Setup(
                device=unit,
                devices=devices or devices_for(outline, weights, unit),
                weights=weights,
                kv=kv,
                block_scaled=block_scaled,
            )
            price = _price(usd_hour) if usd_hour else None
            found = capacity.plan(
                outline, setup, context, tables, usd_hour=price, batches=batches, prompt_per_output=prompt_ratio
            )
            head = {"model": model or params, "hardware": hardware, "devices": setup.devices, "context": context}
            result |= head | msgspec.to_builtins(found)
        elif not (show_materials or shocks):
            raise click.UsageError("name a MODEL, or give --params, --materials, --shock or --list")
        if show_materials or shocks:
            result |= _bill(shocks, plans, rented)
    except JevonsError as error:
        raise click.ClickException(error.message) from None
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print(result)


def _outline(model: str | None, params: str | None, tables: Tables) -> Shape:
    if params:
        try:
            total, _, active = params.partition(":")
            return shape.typical(float(total), float(active or total))
        except ValueError:
            raise click.UsageError(f"--params {params!r} is not TOTAL or TOTAL:ACTIVE in billions") from None
    known = shape.find(model or "", tables.shapes)
    if known is None:
        raise click.UsageError(f"no public outline of {model!r} is known; give --params, or see --list")
    return known


def _price(text: str) -> Band:
    try:
        ends = [float(part) for part in text.split(",")]
    except ValueError:
        ends = []
    if len(ends) == 1:
        ends *= 3
    if len(ends) != 3:
        raise click.UsageError(f"--usd-hour {text!r} is neither USD nor LOW,MID,HIGH")
    return Band(*ends)


def _bill(shocks: Sequence[str], plans: Sequence[str], rented: bool) -> dict[str, Any]:
    table = materials.load_materials()
    lines = msgspec.to_builtins(materials.bill(table))
    if not shocks:
        return {"materials": lines, "materials_note": table.note}
    changes: dict[str, float] = {}
    for text in shocks:
        name, _, ratio = text.partition("=")
        try:
            changes[name] = float(ratio)
        except ValueError:
            raise click.UsageError(f"--shock {text!r} is not NAME=RATIO") from None
    shocked = materials.shock(changes, table)
    margins = {}
    for text in plans:
        name, _, amounts = text.partition("=")
        revenue, _, cost = amounts.partition(":")
        try:
            margin = materials.margin_after(nano(revenue), nano(cost), shocked, passed_through=not rented)
        except ArithmeticError:
            raise click.UsageError(f"--plan {text!r} is not NAME=REVENUE:COST") from None
        margins[name] = msgspec.to_builtins(margin)
    after = {"shock": changes, "shocked": msgspec.to_builtins(shocked), "margins": margins}
    return {"materials": lines, "materials_note": table.note} | after


def _emit(lists: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(lists))
        return
    for name, values in lists.items():
        click.echo(f"{name}: {', '.join(values)}")


def _band(value: dict[str, float], scale: float = 1.0) -> str:
    """`336 (248 to 455)`: three significant digits without exponents."""
    mid, low, high = (_digits(value[end] * scale) for end in ("mid", "low", "high"))
    return f"{mid} ({low} to {high})"


def _digits(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _print(result: dict[str, Any]) -> None:
    console = Console()
    if "memory" in result:
        _print_memory(console, result)
        _print_points(console, result)
    if "materials" in result:
        _print_bill(console, result)
    for note in result.get("notes", ()):
        console.print(f"[dim]{note}[/dim]")


def _print_memory(console: Console, result: dict[str, Any]) -> None:
    held, back = result["memory"], result["restore"]
    console.print(
        f"{result['model']} on {result['devices']} x {result['hardware']}: weights {held['weight_bytes'] / GB:.1f} GB, "
        f"{held['kv_bytes_per_token']:,.0f} bytes of KV per token"
    )
    console.print(
        f"HBM holds {held['tokens_in_hbm']:,} tokens = {held['sequences_in_hbm']:,} sequences of {result['context']:,};"
        f" host memory {held['tokens_in_dram']:,} and drives {held['tokens_on_ssd']:,} tokens more"
    )
    console.print(
        f"a sequence that left HBM: recompute {_band(back['recompute_s'], 1e3)} ms, "
        f"from host memory {back['from_dram_s'] * 1e3:.3g} ms ({back['dram']}), "
        f"from drives {back['from_ssd_s'] * 1e3:.3g} ms ({back['ssd']})"
    )


def _print_points(console: Console, result: dict[str, Any]) -> None:
    table = Table("batch", "step ms", "tokens/s", "$/Mtok", "J/token", "fits")
    for row in result["points"]:
        names = ("step_ms", "tokens_per_s", "usd_per_mtok", "joules_per_token")
        table.add_row(f"{row['batch']:,}", *(_band(row[name]) for name in names), "yes" if row["fits"] else "no")
    console.print(table)


def _print_bill(console: Console, result: dict[str, Any]) -> None:
    table = Table("line", "share of an owned accelerator-hour, %", "source")
    for line in result["materials"]:
        share = _band(line["share"], 100.0) if line["share"] else "unknown"
        table.add_row(line["name"], share, line["source"])
    console.print(table)
    if "shocked" in result:
        after = result["shocked"]
        console.print(
            f"after {result['shock']}: $/Mtok x {after['ratio_mid']:.3f} "
            f"({after['ratio_low']:.3f} to {after['ratio_high']:.3f}); {after['word']}"
        )
        for name, margin in result["margins"].items():
            low, mid, high = (show(margin[f"after_{end}_nano"]) for end in ("low", "mid", "high"))
            console.print(f"plan {name}: margin {show(margin['before_nano'])} becomes {mid} ({low} to {high})")
