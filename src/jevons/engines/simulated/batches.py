"""Files and batches of both providers, as far as a client needs them: make, poll, cancel, read the results.

A batch's lines run when it is first seen to be done (`batch_s` after it was made), at half price, each billed once.
"""

import json
import re
import time
from typing import Any

import msgspec

from jevons.engines.simulated.outlet import dump
from jevons.engines.simulated.prompt import Refused
from jevons.engines.simulated.service import PREFIX, WHOLE, Call, Service

ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}
Found = tuple[int, Any] | tuple[int, Any, str]


class File(msgspec.Struct):
    id: str
    org: str
    name: str
    purpose: str
    data: bytes
    created: int


class Batch(msgspec.Struct, kw_only=True):
    """One batch of either provider. `results` is empty until it has run."""

    id: str
    org: str
    provider: str
    surface: str
    lines: list[dict[str, Any]]
    created: float
    input_file: str = ""
    metadata: dict[str, Any] | None = None
    cancelled: bool = False
    results: list[dict[str, Any]] | None = None
    output_file: str = ""
    error_file: str = ""


class Batches:
    """Files and batches by id; an organisation sees only its own."""

    def __init__(self, service: Service):
        self._service = service
        self._files: dict[str, File] = {}
        self._batches: dict[str, Batch] = {}

    def answer(self, call: Call) -> Found | None:
        """(status, body[, content type]), or None for a path that is not ours. Raises Refused."""
        path, method = call.request.path, call.request.method
        parts = path.strip("/").split("/")[1:]
        if parts[:1] == ["files"]:
            return self._file(call, method, parts[1:])
        if parts[:1] == ["batches"]:
            return self._openai(call, method, parts[1:])
        if parts[:2] == ["messages", "batches"]:
            return self._anthropic(call, method, parts[2:])
        return None

    # --- OpenAI

    def _file(self, call: Call, method: str, rest: list[str]) -> Found:
        if not rest and method == "POST":
            fields = multipart(call.request.header("content-type"), call.request.body)
            if "file" not in fields or "purpose" not in fields:
                raise Refused(400, "invalid_request_error", "'file' and 'purpose' are required.")
            name, data = fields["file"]
            return 200, file_body(self._keep(call.org, name, fields["purpose"][1].decode(), data))
        if not rest:
            rows = [file_body(file) for file in self._files.values() if file.org == call.org]
            return 200, {"object": "list", "data": rows, "has_more": False}
        file = self._files.get(rest[0])
        if file is None or file.org != call.org:
            raise Refused(404, "invalid_request_error", f"No such File object: {rest[0]}")
        if rest[1:] == ["content"]:
            return 200, file.data, "application/octet-stream"
        if method == "DELETE":
            del self._files[file.id]
            return 200, {"id": file.id, "object": "file", "deleted": True}
        return 200, file_body(file)

    def _keep(self, org: str, name: str, purpose: str, data: bytes) -> File:
        file = File(f"file-sim{len(self._files):08d}", org, name, purpose, data, int(self._service.now()))
        self._files[file.id] = file
        return file

    def _openai(self, call: Call, method: str, rest: list[str]) -> Found:
        if not rest and method == "POST":
            return 200, self._openai_body(self._make(call))
        if not rest:
            own = [batch for batch in self._batches.values() if batch.org == call.org and batch.provider == "openai"]
            return 200, {"object": "list", "data": [self._openai_body(batch) for batch in own], "has_more": False}
        batch = self._find(call, rest[0])
        if rest[1:] == ["cancel"]:
            batch.cancelled = batch.results is None
        return 200, self._openai_body(batch)

    def _make(self, call: Call) -> Batch:
        body = self._service.parsed(call)
        file = self._files.get(body.get("input_file_id", ""))
        if file is None or file.org != call.org:
            raise Refused(400, "invalid_request_error", "Invalid input_file_id", param="input_file_id")
        if body.get("endpoint") not in ENDPOINTS or body.get("completion_window") != "24h":
            raise Refused(400, "invalid_request_error", "Invalid endpoint or completion_window")
        lines = []
        for number, text in enumerate(file.data.decode().splitlines(), 1):
            try:
                lines.append(json.loads(text))
            except ValueError:
                raise Refused(400, "invalid_request_error", f"Line {number} is not valid JSON.") from None
        batch = Batch(
            id=f"batch_sim{len(self._batches):08d}", org=call.org, provider="openai", lines=lines, input_file=file.id,
            surface=ENDPOINTS[body["endpoint"]], created=self._service.now(), metadata=body.get("metadata"),
        )  # fmt: skip
        self._batches[batch.id] = batch
        return batch

    def _openai_body(self, batch: Batch) -> dict[str, Any]:
        state = self._settle(batch)
        done = batch.results or []
        good = [row for row in done if row["status"] == 200]
        if state == "completed" and not batch.output_file and not batch.error_file:
            self._write_files(batch, done)
        endpoint = next(path for path, surface in ENDPOINTS.items() if surface == batch.surface)
        ended = int(batch.created + self._service.script.batch_s)
        return {
            "id": batch.id, "object": "batch", "endpoint": endpoint, "errors": None, "input_file_id": batch.input_file,
            "completion_window": "24h", "status": state, "output_file_id": batch.output_file or None,
            "error_file_id": batch.error_file or None, "created_at": int(batch.created),
            "in_progress_at": int(batch.created), "expires_at": int(batch.created) + 86_400,
            "completed_at": ended if state == "completed" else None,
            "cancelled_at": ended if state == "cancelled" else None,
            "expired_at": ended if state == "expired" else None,
            "request_counts": {"total": len(batch.lines), "completed": len(good), "failed": len(done) - len(good)},
            "metadata": batch.metadata,
        }  # fmt: skip

    def _write_files(self, batch: Batch, rows: list[dict[str, Any]]) -> None:
        def text(good: bool) -> bytes:
            return b"".join(
                dump({
                    "id": f"batch_req_{index}", "custom_id": row["custom_id"], "error": None,
                    "response": {"status_code": row["status"], "request_id": batch.id, "body": row["body"]},
                }) + b"\n"
                for index, row in enumerate(rows) if (row["status"] == 200) == good
            )  # fmt: skip

        for good in (True, False):
            data = text(good)
            if data:
                kept = self._keep(batch.org, f"{batch.id}.jsonl", "batch_output", data)
                batch.output_file, batch.error_file = (
                    (kept.id, batch.error_file) if good else (batch.output_file, kept.id)
                )

    # --- Anthropic

    def _anthropic(self, call: Call, method: str, rest: list[str]) -> Found:
        if not rest and method == "POST":
            lines = self._service.parsed(call).get("requests")
            if not isinstance(lines, list) or not lines:
                raise Refused(400, "invalid_request_error", "requests: Field required")
            if len({line.get("custom_id") for line in lines}) != len(lines):
                raise Refused(400, "invalid_request_error", "requests: custom_id must be unique")
            batch = Batch(
                id=f"msgbatch_sim{len(self._batches):08d}", org=call.org, provider="anthropic", surface="messages",
                lines=lines, created=self._service.now(),
            )  # fmt: skip
            self._batches[batch.id] = batch
            return 200, self._anthropic_body(batch, call)
        if not rest:
            own = [batch for batch in self._batches.values() if batch.org == call.org and batch.provider == "anthropic"]
            rows = [self._anthropic_body(batch, call) for batch in own]
            ids = [row["id"] for row in rows] or [None]
            return 200, {"data": rows, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
        batch = self._find(call, rest[0])
        if rest[1:] == ["cancel"]:
            batch.cancelled = batch.results is None
        elif rest[1:] == ["results"]:
            self._settle(batch)
            return 200, b"".join(result_line(row) for row in batch.results or []), "application/x-jsonl"
        elif method == "DELETE":
            del self._batches[batch.id]
            return 200, {"id": batch.id, "type": "message_batch_deleted"}
        return 200, self._anthropic_body(batch, call)

    def _anthropic_body(self, batch: Batch, call: Call) -> dict[str, Any]:
        state = self._settle(batch)
        rows = batch.results or []
        counted = {kind: sum(row["result"] == kind for row in rows)
                   for kind in ("succeeded", "errored", "canceled", "expired")}  # fmt: skip
        ended = state != "in_progress"
        host = call.request.header("host")
        return {
            "id": batch.id, "type": "message_batch", "processing_status": "ended" if ended else "in_progress",
            "request_counts": {"processing": len(batch.lines) - len(rows), **counted},
            "created_at": stamp(batch.created), "expires_at": stamp(batch.created + 86_400),
            "ended_at": stamp(batch.created + self._service.script.batch_s) if ended else None,
            "archived_at": None, "cancel_initiated_at": stamp(batch.created) if batch.cancelled else None,
            "results_url": f"http://{host}/v1/messages/batches/{batch.id}/results" if ended else None,
        }  # fmt: skip

    # --- both

    def _find(self, call: Call, ident: str) -> Batch:
        batch = self._batches.get(ident)
        if batch is None or batch.org != call.org or self._service.script.batch_outcome == "vanished":
            raise Refused(404, "not_found_error", f"No batch found with id '{ident}'.")
        return batch

    def _settle(self, batch: Batch) -> str:
        """The batch's state now (OpenAI's words), running its lines when it is time."""
        if batch.cancelled:
            batch.results = batch.results or [unrun(line, "canceled") for line in batch.lines]
            return "cancelled"
        if batch.results is None and self._service.now() < batch.created + self._service.script.batch_s:
            return "in_progress"
        if self._service.script.batch_outcome == "expired":
            batch.results = batch.results or [unrun(line, "expired") for line in batch.lines]
            return "expired"
        if batch.results is None:
            batch.results = [self._run(batch, index, line) for index, line in enumerate(batch.lines)]
        return "completed"

    def _run(self, batch: Batch, index: int, line: dict[str, Any]) -> dict[str, Any]:
        service = self._service
        body = line.get("params" if batch.provider == "anthropic" else "body") or {}
        row: dict[str, Any] = {"custom_id": line.get("custom_id")}
        try:
            ask = service.read(batch.surface, body, batch.org)
            reply = service.reply(ask, None)
        except Refused as refused:
            error = {"type": refused.kind, "message": refused.message}
            return row | {"status": refused.status, "result": "errored", "body": {"error": error}}
        if reply.fault:
            error = {"type": "server_error", "message": "The server had an error while processing this line."}
            return row | {"status": 500, "result": "errored", "body": {"error": error}}
        read = service.look_up(ask, batch.org, batch=True)
        answer = service.think(ask, reply, read, f"{PREFIX[ask.surface]}b{batch.id[-8:]}{index:06d}", tier="batch")
        read.commit()
        service.bill_batch(batch.org, ask, answer)
        return row | {"status": 200, "result": "succeeded", "body": WHOLE[ask.surface](ask, answer)}


def unrun(line: dict[str, Any], how: str) -> dict[str, Any]:
    return {"custom_id": line.get("custom_id"), "status": 0, "result": how, "body": {}}


def result_line(row: dict[str, Any]) -> bytes:
    """A line of Anthropic's results file."""
    result: dict[str, Any] = {"type": row["result"]}
    if row["result"] == "succeeded":
        result["message"] = row["body"]
    elif row["result"] == "errored":
        result["error"] = {"type": "error", "error": row["body"]["error"]}
    return dump({"custom_id": row["custom_id"], "result": result}) + b"\n"


def stamp(second: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def file_body(file: File) -> dict[str, Any]:
    return {
        "id": file.id, "object": "file", "bytes": len(file.data), "created_at": file.created, "filename": file.name,
        "purpose": file.purpose, "status": "processed", "expires_at": None,
    }  # fmt: skip


def multipart(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """Field name -> (file name, data) of a multipart/form-data body. Raises Refused."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if not found:
        raise Refused(400, "invalid_request_error", "expected multipart/form-data")
    out: dict[str, tuple[str, bytes]] = {}
    for part in body.split(b"--" + found.group(1).encode())[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        text = head.decode("utf-8", "replace")
        name = re.search(r'\bname="([^"]*)"', text)
        file = re.search(r'filename="([^"]*)"', text)
        if name:
            out[name.group(1)] = (file.group(1) if file else "", data.removesuffix(b"\r\n"))
    return out
