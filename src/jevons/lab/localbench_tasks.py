"""A user's own tasks, answered by a served model and checked: the score that decides where divergence can't.

A task is a JSONL row: `prompt` (text) or `messages` (chat), `answer` (text, or a list of which one must hold), and
`check`: `contains` (default, whatever the case), `exact`, `number` (the last number in the answer) or `regex`.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.engines.http import Limits, Pool
from jevons.engines.local import LocalEngine

MAX_TASKS = 10_000
MAX_ANSWER_TOKENS = 256
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")
CHECKS = ("contains", "exact", "number", "regex")


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    answer: str | tuple[str, ...]
    prompt: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    check: str = "contains"
    max_tokens: int = MAX_ANSWER_TOKENS


def load(path: Path) -> tuple[list[Task], list[str]]:
    """(tasks, what is wrong with the lines that are none). Raises CallerError when no line is a task."""
    tasks: list[Task] = []
    wrong: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or len(tasks) >= MAX_TASKS:
            continue
        try:
            task = msgspec.json.decode(line, type=Task)
            _check(task)
        except (msgspec.DecodeError, msgspec.ValidationError, CallerError, re.error) as error:
            wrong.append(f"{path}, line {number}: {error}")
        else:
            tasks.append(task)
    if not tasks:
        raise CallerError(f"{path}: no line is a task. " + (wrong[0] if wrong else "It is empty."))
    return tasks, wrong


def _check(task: Task) -> None:
    if bool(task.prompt) == bool(task.messages):
        raise CallerError("give either prompt or messages")
    if task.check not in CHECKS:
        raise CallerError(f"check {task.check!r} is not one of {', '.join(CHECKS)}")
    if task.check == "regex":
        for pattern in _answers(task):
            re.compile(pattern)


def solved(task: Task, text: str) -> bool:
    """Whether the text answers the task."""
    return any(_holds(task.check, answer, text.strip()) for answer in _answers(task))


def _answers(task: Task) -> Sequence[str]:
    return (task.answer,) if isinstance(task.answer, str) else task.answer


def _holds(check: str, answer: str, text: str) -> bool:
    if check == "exact":
        return text == answer.strip()
    if check == "regex":
        return re.search(answer, text) is not None
    if check == "number":
        found, wanted = NUMBER.findall(text), NUMBER.findall(answer)
        return bool(found and wanted) and float(found[-1].replace(",", "")) == float(wanted[-1].replace(",", ""))
    return answer.lower() in text.lower()


def score(model: Path, tasks: Sequence[Task], *, threads: int, slots: int, context_tokens: int) -> list[bool]:
    """Each task's result with a served model at temperature 0. Raises ModelError when it can't be served."""
    return asyncio.run(_score(model, tasks, threads, slots, context_tokens))


async def _score(model: Path, tasks: Sequence[Task], threads: int, slots: int, context_tokens: int) -> list[bool]:
    engine = LocalEngine(model, threads=threads, slots=slots, ctx=context_tokens, cache_ram_mib=0)
    await engine.start()
    pool, gate = Pool(engine.url), asyncio.Semaphore(slots)

    async def one(task: Task) -> bool:
        async with gate:
            return solved(task, await ask(pool, engine.key, _body(task)))

    try:
        return list(await asyncio.gather(*(one(task) for task in tasks)))
    finally:
        pool.close()
        await engine.stop()


def _body(task: Task) -> dict[str, Any]:
    messages = list(task.messages) or [{"role": "user", "content": task.prompt}]
    return {"model": "local", "messages": messages, "temperature": 0, "max_tokens": task.max_tokens}


async def ask(pool: Pool, key: str, body: dict[str, Any]) -> str:
    """A chat answer's text; empty when the engine refuses the call (a prompt beyond the context)."""
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {pool.authority}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    exchange = await pool.send(head.encode("latin-1"), data, Limits(), stream=False)
    reply = json.loads(await exchange.whole())
    return "" if exchange.status != 200 else str(reply["choices"][0]["message"].get("content") or "")
