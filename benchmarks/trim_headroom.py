"""headroom-ai's library as a row of the trim benchmark. It runs in an interpreter of its own: `--headroom PYTHON`.

The library is asked at each call with all messages so far, as its documentation shows, and its tool texts become the
edits. It is no dependency of ours: without an interpreter that has it there is no such row.
"""

import json
import subprocess
from types import TracebackType

from benchmarks.trim_traces import Segment
from jevons.core.prompt import Text, ToolResult, ToolUse, Turn
from jevons.levers.lever import Edit
from jevons.levers.trim.check import editable

CHILD = """
import json, sys
from headroom import compress
for line in sys.stdin:
    got = compress(json.loads(line), model="claude-sonnet-4-5-20250929")
    print("=" + json.dumps([m.get("content") for m in got.messages]), flush=True)
"""


class Headroom:
    """A policy; use as a context, so that the child process ends."""

    def __init__(self, python: str):
        self._child = subprocess.Popen(
            [python, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"HF_HUB_OFFLINE": "1", "HEADROOM_TELEMETRY": "off", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        )

    def __enter__(self) -> "Headroom":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.terminate()
        self._child.wait()

    def __call__(self, segment: Segment, number: int, _name: str) -> tuple[Edit, ...]:
        turns = segment.turns[: segment.calls[number].turns]
        if self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError("the child process has no pipes")
        self._child.stdin.write(json.dumps([_message(turn) for turn in turns]) + "\n")
        self._child.stdin.flush()
        line = next((line for line in self._child.stdout if line.startswith("=")), "")
        if not line:
            raise RuntimeError("headroom gave no answer: does this interpreter have headroom-ai?")
        texts = json.loads(line[1:])
        if len(texts) != len(turns):
            return ()
        return tuple(
            Edit(at, 0, text)
            for at, (turn, text) in enumerate(zip(turns, texts, strict=True))
            if isinstance(text, str)
            and text
            and editable(turn.parts[0] if turn.parts else Text("")) not in (None, text)
        )


def _message(turn: Turn) -> dict[str, object]:
    if turn.role == "tool" and isinstance(turn.parts[0], ToolResult):
        return {"role": "tool", "tool_call_id": turn.parts[0].tool_use_id, "content": editable(turn.parts[0]) or ""}
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        for part in turn.parts
        if isinstance(part, ToolUse)
    ]
    text = "\n".join(part.text for part in turn.parts if isinstance(part, Text))
    return {"role": turn.role, "content": text, **({"tool_calls": calls} if calls else {})}
