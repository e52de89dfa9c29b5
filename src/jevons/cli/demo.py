"""`jevons demo`: a recorded agent workload through the live gateway, with and without levers, and the bills.

What lives here: the recorded client, the runs and what is printed. The gateway is the one that `jevons serve` runs,
reached over its socket; in place of a provider stands the simulator, whose invoice is the bill. It must not know
how anything is saved: one run of a pair only has a plan that allows more.
"""

import asyncio
import http.client
import json
import lzma
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.cli.options import print_json
from jevons.core.errors import OurError
from jevons.core.money import show
from jevons.core.usage import NOTHING, Usage

if TYPE_CHECKING:
    from jevons.engines.simulated import Reply, Simulator
    from jevons.ledger.operation import Operation
    from jevons.plans.plan import Plan

DATA = "tau_airline.jsonl.xz"
MODEL = "claude-sonnet-4-5"
MAX_TOKENS = 4096
SECRET = "sk-jv-demo-" + "d" * 32
"""Opens a gateway that lives for seconds, on loopback, in front of a simulator."""
USER_PAUSE_S, TOOL_PAUSE_S, SPREAD = 40.0, 4.0, 1.2
"""Medians and log-spread of the modelled pause before a user's and a tool's turn: the recording holds no times."""
START_S = 15.0
UNTOUCHED = {"exact": "off", "breakpoints": "off", "trim": "off", "batch": "off"}
ALLOWED = {"exact": "exact", "breakpoints": "equivalent", "trim": "equivalent"}
"""Levers that keep all the information; nothing lossy acts without a passed gate."""


class Recorded(msgspec.Struct, frozen=True):
    """One call: what the client sends, what the model said, and the pause before it."""

    body: bytes
    reply: Any
    pause_s: float


class Task(msgspec.Struct, frozen=True):
    id: str
    solved: bool
    calls: list[Recorded]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost, in nano-dollars: by the provider's invoice, and as the gateway booked it."""

    invoice_nano: int
    ledger_nano: int
    unpriced: int
    calls: int
    usage: Usage

    @property
    def residual_nano(self) -> int:
        return self.invoice_nano - self.ledger_nano


@click.command()
@click.option("--tasks", "count", type=click.IntRange(1, 26), default=26, show_default=True, help="Tasks to replay.")
@click.option("--seed", default=1, show_default=True, help="Of the modelled pauses.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
def command(count: int, seed: int, as_json: bool) -> None:
    """Replay recorded agent runs through the live gateway, untouched and with levers, and print the bills.

    For a plain client, and for one that marks its prompts for the provider's cache itself. Needs no key and no
    internet: a simulated provider answers what was recorded and writes an invoice.
    """
    tasks, bills = load(count, seed), {}
    if not as_json:
        calls = sum(len(task.calls) for task in tasks)
        click.echo(f"{count} airline tasks, {calls} calls, four times through the gateway ...")
    for client, made in (("plain", tasks), ("caching", [_marked(task) for task in tasks])):
        bills[f"{client}\nuntouched"] = replay(made, UNTOUCHED)
        bills[f"{client}\nwith jevons"] = replay(made, ALLOWED)
    if as_json:
        named = {name.replace("\n", " "): bill for name, bill in bills.items()}
        print_json({"tasks": len(tasks), "solved": sum(task.solved for task in tasks), "bills": named})
    else:
        _print(tasks, bills)


def load(count: int, seed: int) -> list[Task]:
    """The first recorded tasks as calls: each of the model's turns is one, whose prompt is all before it."""
    dice = random.Random(seed)
    packed = resources.files("jevons.cli.data").joinpath(DATA).read_bytes()
    lines = lzma.decompress(packed).decode().splitlines()[:count]
    return [_task(json.loads(line), dice) for line in lines]


def replay(tasks: list[Task], levers: dict[str, str]) -> Bill:
    """One run, over real sockets, on a fresh ledger. Raises OurError when the gateway does not answer."""
    from jevons.engines.simulated import Reply, start
    from jevons.plans.plan import Plan

    ahead = [0.0]
    now = [Reply()]
    with tempfile.TemporaryDirectory() as folder, start(mind=lambda _ask: now[0]) as provider:
        plan = Plan(name="demo", levers=levers)
        with _gateway(Path(folder), provider, plan, lambda: time.time() + ahead[0]) as (port, booked):
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
            for task in tasks:
                for call in task.calls:
                    ahead[0] += call.pause_s
                    provider.advance(call.pause_s)
                    now[0] = call.reply
                    _send(line, task.id, call.body)
            line.close()
        return Bill(
            invoice_nano=round(provider.books.total_pico / 1000),
            ledger_nano=sum(operation.cost_nano or 0 for operation in booked),
            unpriced=sum(operation.cost_nano is None for operation in booked),
            calls=len(booked),
            usage=sum((operation.usage for operation in booked), NOTHING),
        )


@contextmanager
def _gateway(
    folder: Path, provider: "Simulator", plan: "Plan", clock: Callable[[], float]
) -> "Iterator[tuple[int, list[Operation]]]":
    """The gateway in a thread, as `jevons serve` would run it. Gives its port and what it books."""
    from jevons.gateway.house import Housekeeping
    from jevons.gateway.serve import Server
    from jevons.plans import key as keys
    from jevons.plans.plan import Book
    from jevons.settings import parse
    from jevons.store import keys as key_rows
    from jevons.store import plans as plan_rows
    from jevons.store.migrate import open_database

    url = f"sqlite:///{folder}/demo.db"
    with open_database(url) as db:
        key_rows.add(db, keys.make(SECRET, name="demo", plan=plan.name, created=0.0))
        plan_rows.apply(db, Book(plans={plan.name: plan}), who="demo", at=0.0)
    tables = {"server": {"port": 0}, "database": {"url": url}, "local": {"enabled": False}, "pages": {"enabled": False}}
    environ = {"ANTHROPIC_API_KEY": "sk-simulated", "ANTHROPIC_BASE_URL": provider.url}
    house = Housekeeping(parse(tables, "demo"), environ, clock)
    booked: list[Operation] = []
    inner = house.world.book

    def book(operation: "Operation") -> Any:
        booked.append(operation)
        return inner(operation)

    house.world.book = book
    server = Server(house)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    began = time.monotonic()
    while not server.started:
        if time.monotonic() - began > START_S or not thread.is_alive():
            raise OurError("the demo's gateway did not start; `jevons doctor` says more")
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], booked
    finally:
        server.should_exit = True
        thread.join(START_S)


def _send(line: http.client.HTTPConnection, task: str, body: bytes) -> None:
    headers = {"x-api-key": SECRET, "content-type": "application/json", "x-jevons-task": task}
    line.request("POST", "/v1/messages", body, headers)
    answer = line.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise OurError(f"the demo's gateway answered {answer.status}: {said[:300].decode('utf-8', 'replace')}")


def _task(found: dict[str, Any], dice: random.Random) -> Task:
    from jevons.wire.translate import translate_request

    messages, calls = found["messages"], []
    for number, message in enumerate(messages):
        if number and message["role"] == "assistant":
            chat = {"model": MODEL, "messages": messages[:number], "max_tokens": MAX_TOKENS}
            body, _ = translate_request("chat", "messages", msgspec.json.encode(chat), MODEL)
            median = USER_PAUSE_S if messages[number - 1]["role"] == "user" else TOOL_PAUSE_S
            calls.append(Recorded(body, _reply(message), dice.lognormvariate(0.0, SPREAD) * median))
    return Task(found["id"], found["reward"] > 0, calls)


def _marked(task: Task) -> Task:
    """The same from a client that sets five-minute breakpoints after its system text and on its last turn."""
    from jevons.wire.edits import place_breakpoints

    def marked(call: Recorded) -> Recorded:
        last = len(json.loads(call.body)["messages"])
        return msgspec.structs.replace(call, body=place_breakpoints(call.body, [(0, "5m"), (last, "5m")]))

    return msgspec.structs.replace(task, calls=[marked(call) for call in task.calls])


def _reply(message: dict[str, Any]) -> "Reply":
    from jevons.engines.simulated import Reply, ToolCall

    made = [call["function"] for call in message.get("tool_calls") or ()]
    tools = tuple(ToolCall(function["name"], function["arguments"]) for function in made)
    return Reply(text=message.get("content") or (None if tools else "."), tools=tools)


def _print(tasks: list[Task], bills: dict[str, Bill]) -> None:
    solved = sum(task.solved for task in tasks)
    table = Table(box=None, pad_edge=False)
    table.add_column("client\n", no_wrap=True)
    for name in bills:
        table.add_column(name, justify="right", no_wrap=True)
    rows: dict[str, Callable[[Bill], str]] = {
        "the provider's invoice": lambda bill: show(bill.invoice_nano),
        "booked in the ledger": lambda bill: show(bill.ledger_nano),
        "residual": lambda bill: show(bill.residual_nano),
        "a task": lambda bill: show(bill.invoice_nano // len(tasks)),
        "a solved task": lambda bill: show(bill.invoice_nano // solved) if solved else "-",
        "calls": lambda bill: str(bill.calls),
        "input tokens, plain": lambda bill: f"{bill.usage.input:,}",
        "read from the cache": lambda bill: f"{bill.usage.cached:,}",
        "written for 5 min": lambda bill: f"{bill.usage.cache_write_5m:,}",
        "written for an hour": lambda bill: f"{bill.usage.cache_write_1h:,}",
        "output": lambda bill: f"{bill.usage.output:,}",
    }
    for name, said in rows.items():
        table.add_row(name, *(said(bill) for bill in bills.values()))
    Console().print(table)
    plain, helped, caching, both = (bill.invoice_nano for bill in bills.values())
    click.echo(
        f"with jevons: {helped / plain:.3f} of a plain client's bill, {both / caching:.3f} of a caching client's; "
        f"{len(tasks)} tasks, {solved} solved in the recording.\n"
        f"measured: the bills, by the simulator's invoice at {MODEL}'s prices. modelled: the pauses between turns,\n"
        "and that answers stay what they were, since all information was kept."
    )
