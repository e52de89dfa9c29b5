"""A stream of one dialect put together to the whole answer, with every field that its chunks had.

What lives here: how each dialect's deltas add up. `whole` is None until the dialect's own end was seen, and for a
stream that failed. What it must not know: stores. Rubbish raises; the caller says what that comes to.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from jevons.wire.body import Object

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Collector(Protocol):
    """Event data in; the whole answer out."""

    def take(self, data: bytes) -> None: ...

    def whole(self) -> Object | None: ...


class ChatCollector:
    """Deltas by choice, calls by index; strings of a delta add up, lists follow each other, other values replace."""

    def __init__(self) -> None:
        self._frame: Object = {}
        self._choices: dict[int, Object] = {}
        self._done = False
        self._failed = False

    def take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        chunk = _decode(data)
        self._failed = self._failed or bool(chunk.get("error"))
        for choice in chunk.pop("choices", None) or ():
            self._choice(choice)
        self._frame.update({key: value for key, value in chunk.items() if value is not None})

    def whole(self) -> Object | None:
        if not self._done or self._failed or not self._choices:
            return None
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            calls = choice["message"].get("tool_calls")
            if isinstance(calls, dict):
                choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
            if not choice.get("finish_reason"):
                return None
        frame = {key: value for key, value in self._frame.items() if key != "obfuscation"}
        return {**frame, "object": "chat.completion", "choices": choices}

    def _choice(self, raw: Object) -> None:
        index = raw.get("index") or 0
        choice = self._choices.setdefault(index, {"index": index, "message": {"role": "assistant", "content": None}})
        for key, value in raw.items():
            if key == "delta":
                for name, piece in (value or {}).items():
                    self._merge(choice["message"], name, piece)
            elif key == "logprobs":
                for name, piece in (value or {}).items():
                    logprobs = choice.get("logprobs") or {}
                    choice["logprobs"] = logprobs
                    self._merge(logprobs, name, piece)
            elif value is not None:
                choice[key] = value
        choice.setdefault("logprobs", None)

    def _merge(self, into: Object, name: str, piece: Any) -> None:
        if name == "tool_calls":
            calls = into.setdefault("tool_calls", {})
            for number, call in enumerate(piece or ()):
                self._call(calls, call.get("index", number), call)
        elif isinstance(piece, str) and isinstance(into.get(name), str) and name != "role":
            into[name] += piece
        elif isinstance(piece, list) and isinstance(into.get(name), list):
            into[name].extend(piece)
        elif piece is not None or name not in into:
            into[name] = piece

    def _call(self, calls: dict[int, Object], index: int, piece: Object) -> None:
        call = calls.setdefault(index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        for key in ("id", "type"):
            call[key] = piece.get(key) or call[key]
        function = piece.get("function") or {}
        call["function"]["name"] = function.get("name") or call["function"]["name"]
        call["function"]["arguments"] += function.get("arguments") or ""


class MessagesCollector:
    """Blocks by index, as `message_start` framed them."""

    def __init__(self) -> None:
        self._message: Object = {}
        self._blocks: dict[int, Object] = {}
        self._json: dict[int, str] = {}
        self._done = False
        self._failed = False

    def take(self, data: bytes) -> None:
        event = _decode(data)
        kind = event.get("type")
        if kind == "message_start":
            self._message = event["message"]
        elif kind == "content_block_start":
            self._blocks[event["index"]] = event["content_block"]
        elif kind == "content_block_delta":
            self._delta(event["index"], event["delta"])
        elif kind == "message_delta":
            self._message.update(event["delta"])
            usage = {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
            self._message["usage"] = {**(self._message.get("usage") or {}), **usage}
        elif kind == "message_stop":
            self._done = True
        elif kind == "error":
            self._failed = True

    def whole(self) -> Object | None:
        if not self._done or self._failed or not self._message:
            return None
        for index, text in self._json.items():
            if text:
                self._blocks[index]["input"] = msgspec.json.decode(text, type=dict)
        return {**self._message, "content": [self._blocks[index] for index in sorted(self._blocks)]}

    def _delta(self, index: int, delta: Object) -> None:
        block, kind = self._blocks[index], delta.get("type")
        if kind == "input_json_delta":
            self._json[index] = self._json.get(index, "") + delta["partial_json"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        else:
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]


class ResponsesCollector:
    """The terminal event holds the whole response."""

    def __init__(self) -> None:
        self._response: Object | None = None

    def take(self, data: bytes) -> None:
        if data == b"[DONE]":
            return
        event = _decode(data)
        if event.get("type") in {"response.completed", "response.incomplete"}:
            self._response = event["response"]

    def whole(self) -> Object | None:
        return self._response


COLLECTORS: dict[str, Callable[[], Collector]] = {
    "chat": ChatCollector,
    "messages": MessagesCollector,
    "responses": ResponsesCollector,
}
