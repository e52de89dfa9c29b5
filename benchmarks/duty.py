"""The headline: what a task costs with every lever alone, with all of them, and with all but one, and tasks per dollar.

Recorded conversations are replayed call by call over real sockets: a client that marks its own cache breakpoints, the
running gateway under a plan that allows the arm's levers, and the provider simulator, whose invoice is the bill. The
same pipeline is then run without sockets by the replay driver, which must end at the same nano-dollar.

What is recorded: the conversations and, where the set has it, whether the task was solved. What is modelled: the pauses
between turns (seeded), and that answers stay what they were: only levers that keep the information act here.
"""

import argparse
import asyncio
import http.client
import json
import lzma
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jevons.core.ask import Send, Sent
from jevons.core.call import Call, Caller, Surface, TaskRef
from jevons.core.usage import Usage
from jevons.engines.simulated import Ask, Books, Reply, Script, Service, Simulator, ToolCall, start
from jevons.engines.simulated.service import WHOLE
from jevons.gateway.house import Housekeeping, allowed
from jevons.gateway.serve import Server
from jevons.levers.cache.breakpoints import STORE as SESSIONS
from jevons.levers.cache.breakpoints import session_key
from jevons.levers.lever import View
from jevons.pipeline.run import run
from jevons.plans import key as keys
from jevons.plans.plan import Book as Plans
from jevons.plans.plan import Plan
from jevons.replay.drive import Driver
from jevons.settings import parse
from jevons.store import keys as key_rows
from jevons.store import plans as plan_rows
from jevons.store.migrate import open_database
from jevons.wire.edits import place_breakpoints
from jevons.wire.peek import peek
from jevons.wire.translate import translate_request

LEVERS = {"exact": "exact", "breakpoints": "equivalent", "trim": "equivalent"}
"""What each lever may do here: nothing that loses information."""
MODEL = "claude-haiku-4-5"
SECRET = "sk-jv-duty-" + "d" * 32
USER_PAUSE_S, TOOL_PAUSE_S, SPREAD = 40.0, 4.0, 1.2
"""Medians and log-spread of the pause before a user's and a tool's turn (modelled: the sets hold no times)."""
TENANT = "duty"


class Recorded(msgspec.Struct):
    """One call of a recorded task: what the client sends, what the model answers, and the pause before it."""

    task: str
    body: bytes
    reply: Reply
    pause_s: float


class Clock:
    """Wall time, moved forward by pauses: the gateway and the simulator share it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def calls_of(trace: Any, dice: random.Random) -> Iterator[Recorded]:
    """Every assistant message of a recorded task is one call whose prompt is all before it."""
    messages = trace["messages"]
    for number, message in enumerate(messages):
        if number == 0 or message["role"] != "assistant":
            continue
        before = messages[number - 1]["role"]
        chat: dict[str, Any] = {"model": MODEL, "messages": messages[:number], "max_tokens": 4096}
        if trace.get("tools"):
            chat["tools"] = trace["tools"]
        body, _ = translate_request("chat", "messages", msgspec.json.encode(chat), MODEL)
        median = USER_PAUSE_S if before == "user" else TOOL_PAUSE_S
        yield Recorded(trace["id"], mark(body), reply_of(message), dice.lognormvariate(0.0, SPREAD) * median)


def mark(body: bytes) -> bytes:
    """As a well-written client does: five-minute breakpoints after the system text and on the last turn."""
    found = json.loads(body)
    system = bool(found.get("system"))
    last = len(found["messages"]) - (0 if system else 1)
    return place_breakpoints(body, [(0, "5m"), (last, "5m")] if system and last else [(last, "5m")])


def reply_of(message: dict[str, Any]) -> Reply:
    tools = tuple(
        ToolCall(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()
    )
    content = message.get("content")
    text = content if isinstance(content, str) else None
    return Reply(text=text or (None if tools else "."), tools=tools)


class Mind:
    """The simulated model says what was recorded: the reply to the call at hand."""

    def __init__(self) -> None:
        self.reply = Reply()

    def __call__(self, _ask: Ask) -> Reply:
        return self.reply


def live(tasks: list[list[Recorded]], plan: Plan, folder: Path) -> tuple[int, list[Any]]:
    """The arm through the running gateway. Returns the simulator's bill in nano-dollars, and what was booked."""
    clock, mind = Clock(), Mind()
    with start(mind=mind) as simulator:
        booked, stop, port = serve(folder, simulator, plan, clock)
        line = http.client.HTTPConnection("127.0.0.1", port)
        try:
            for calls in tasks:
                for call in calls:
                    clock.ahead_s += call.pause_s
                    simulator.advance(call.pause_s)
                    mind.reply = call.reply
                    headers = {"x-api-key": SECRET, "content-type": "application/json", "x-jevons-task": call.task}
                    line.request("POST", "/v1/messages", call.body, headers)
                    answer = line.getresponse()
                    said = answer.read()
                    if answer.status != 200:
                        raise SystemExit(f"the gateway answered {answer.status}: {said[:300]!r}")
        finally:
            line.close()
            stop()
        return round(sum(item.total_pico for item in simulator.books.lines) / 1000), booked


def serve(folder: Path, simulator: Simulator, plan: Plan, clock: Clock) -> tuple[list[Any], Callable[[], None], int]:
    url = f"sqlite:///{folder}/duty.db"
    with open_database(url) as db:
        key_rows.add(db, keys.make(SECRET, name="duty", customer=TENANT, plan=plan.name, created=0.0))
        plan_rows.apply(db, Plans(plans={plan.name: plan}), who="benchmark", at=0.0)
    settings = parse(
        {"server": {"port": 0}, "database": {"url": url}, "local": {"enabled": False}, "pages": {"enabled": False}},
        "duty",
    )
    environ = {"ANTHROPIC_API_KEY": "sk-sim", "ANTHROPIC_BASE_URL": simulator.url}
    house = Housekeeping(settings, environ, clock)
    booked: list[Any] = []
    inner = house.world.book
    house.world.book = lambda operation: (booked.append(operation), inner(operation))[1]
    server = Server(house)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def stop() -> None:
        server.should_exit = True
        thread.join(20)

    return booked, stop, port


def replayed(tasks: list[list[Recorded]], booked: list[Any], plan: Plan, folder: Path) -> int:
    """The same arm without sockets: the pipeline over recorded calls, the simulator's meter as the provider."""
    mind = Mind()
    service = Service(Books(), Script(), seed=0, mind=mind)
    settings = parse({"database": {"url": f"sqlite:///{folder}/replay.db"}, "local": {"enabled": False}}, "duty")
    environ = {"ANTHROPIC_API_KEY": "sk-sim", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    house = Housekeeping(settings, environ)
    driver = Driver(lambda ask: burned(service, mind, ask))
    pure = msgspec.structs.replace(house.gateway.house, clock=driver.clock)
    caller = Caller(key_id="duty", tenant=TENANT, customer=TENANT, plan=plan.name)
    calls = [call for task in tasks for call in task]
    for recorded, operation in zip(calls, booked, strict=True):
        driver.at = operation.started
        service.ahead_s = operation.started - time.time()
        mind.reply = recorded.reply
        call = Call(
            operation=operation.operation,
            surface=Surface.MESSAGES,
            caller=caller,
            peek=peek(Surface.MESSAGES, recorded.body),
            body=recorded.body,
            headers={},
            at=operation.started,
            task=TaskRef(task=recorded.task, source="header"),
            site=operation.site,
        )
        memory = {key: value for (store, _, key), value in driver.memory.items() if store == "trim"}
        view = View(
            now=call.at,
            allowed=allowed(plan),
            quality_floor=plan.quality_floor,
            plan=plan,
            session=driver.memory.get((SESSIONS, TENANT, session_key(call))),
            routes=house.catalogue.routes(MODEL),
            memory={"trim": memory},
        )
        driver.run(run(call, view, pure), TENANT)
    asyncio.run(house.stop())
    return sum(operation.cost_nano or 0 for operation in driver.operations)


def burned(service: Service, mind: Mind, ask: Send) -> Sent:
    """What the simulated provider would have answered and billed."""
    asked = service.read("messages", json.loads(ask.body), "org")
    read = service.look_up(asked, "org")
    answer = service.think(asked, mind.reply, read, "msg")
    read.commit()
    counts = answer.counts
    usage = Usage(
        input=counts.uncached,
        cached=counts.read,
        cache_write_5m=counts.write_5m,
        cache_write_1h=counts.write_1h,
        output=counts.output,
    )
    return Sent(route=ask.route, status=200, body=msgspec.json.encode(WHOLE["messages"](asked, answer)), usage=usage)


def arms() -> dict[str, dict[str, str]]:
    """Arm -> what its plan says of each lever."""
    off = dict.fromkeys(LEVERS, "off")
    found = {"off": off, **{name: {**off, name: risk} for name, risk in LEVERS.items()}, "all": dict(LEVERS)}
    return {**found, **{f"all-{name}": {**LEVERS, name: "off"} for name in LEVERS}}


def measure(traces: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    dice = random.Random(seed)
    tasks = [calls for calls in (list(calls_of(trace, dice)) for trace in traces) if calls]
    rewards = [trace.get("meta", {}).get("reward") for trace in traces]
    solved = sum(1 for reward in rewards if reward and reward > 0) if any(r is not None for r in rewards) else None
    found: dict[str, Any] = {}
    for arm, levers in track(arms().items(), "arms", console=Console(file=sys.stderr)):
        plan = Plan(name="arm", levers=levers)
        with tempfile.TemporaryDirectory() as folder:
            billed, booked = live(tasks, plan, Path(folder))
            ledger = sum(operation.cost_nano or 0 for operation in booked)
            again = replayed(tasks, booked, plan, Path(folder))
        found[arm] = {
            "usd_per_task": billed / 1e9 / len(tasks),
            "usd_per_solved": billed / 1e9 / solved if solved else None,
            "solved": solved,
            "live_nanodollars": ledger,
            "replay_nanodollars": again,
            "residual_nanodollars": billed - ledger,
        }
    singles = {arm: row["usd_per_task"] for arm, row in found.items() if arm in LEVERS}
    best = min(singles, key=singles.__getitem__)
    return {
        "arms": found,
        "tasks": len(tasks),
        "calls": sum(map(len, tasks)),
        "best_single": best,
        "all_vs_best_single": found["all"]["usd_per_task"] / singles[best],
        "all_vs_off": found["all"]["usd_per_task"] / found["off"]["usd_per_task"],
        "live_equals_replay": all(row["live_nanodollars"] == row["replay_nanodollars"] for row in found.values()),
    }


def read(path: Path, limit: int) -> list[dict[str, Any]]:
    """Conversations of a context file; a compacted one is cut at its boundaries."""
    found: list[dict[str, Any]] = []
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        for line in lines:
            row = json.loads(line)
            part: list[dict[str, Any]] = []
            for message in [*row["messages"], {"boundary": True}]:
                if not message.get("boundary"):
                    part.append(message)
                elif part:
                    found.append({**row, "id": f"{row['id']}#{len(found)}", "messages": part})
                    part = []
            if limit and len(found) >= limit:
                return found[:limit]
    return found


def show(result: dict[str, Any]) -> None:
    table = Table("arm", "$ per task", "of off", "$ per solved", "tasks per $", "live = replay", title="duty")
    off = result["arms"]["off"]["usd_per_task"]
    for arm, row in result["arms"].items():
        usd, solved = row["usd_per_task"], row["usd_per_solved"]
        table.add_row(
            arm,
            f"{usd:.5f}",
            f"{usd / off:.4f}",
            "" if solved is None else f"{solved:.5f}",
            f"{1 / usd:.1f}",
            "yes" if row["live_nanodollars"] == row["replay_nanodollars"] else "NO",
        )
    Console().print(table)
    print(f"all against the best single lever ({result['best_single']}): {result['all_vs_best_single']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a context file (.jsonl or .jsonl.xz)")
    parser.add_argument("--tasks", type=int, default=0, help="only the first so many; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the modelled pauses")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(read(options.data, options.tasks), options.seed)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
