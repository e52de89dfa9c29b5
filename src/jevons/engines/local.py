"""The local engine: one GGUF, served by llama.cpp in a supervised child process, as one more upstream.

What lives here: whether the model can be served on this machine, with which options, and what kind of upstream it
is. The child's life is `local_process.py`, the child itself `local_child.py`. What must not be here: calls, prices.
"""

import asyncio
import os
import secrets
from pathlib import Path

from jevons.core.route import Provider
from jevons.engines.local_child import KV_TYPES, Options
from jevons.engines.local_gguf import ModelError, ModelFile, read
from jevons.engines.local_process import Child, ChildError, Health

KEY_VARIABLE = "JEVONS_LOCAL_KEY"
"""The name under which the gateway hands the engine's key to its upstream; it never leaves the two processes."""
SURFACES = {"openai": ("chat",), "anthropic": ("messages", "count_tokens")}
"""What llama.cpp answers as the official SDKs expect it. Its Responses stream lacks sequence numbers and indexes
(docs/decisions/0030), so that surface is translated to chat."""
START_TIMEOUT_S = 120.0
COMPUTE_BYTES = 200 * 1024 * 1024
"""Scratch memory beside weights and KV cache: some 130 MiB with the default model at 4 slots."""
MIB = 1024 * 1024


class LocalEngine:
    """One model, served. `await start()` returns when it answers; `url`, `key` and `provider()` lead there.

    `threads=0` takes every core that the process may use. `ctx` is the context of each of the `slots` calls that run
    at once. `port=0` takes a free port and keeps it over restarts. `start` (and only it) raises ModelError when the
    file is missing, truncated or foreign, or when memory or time don't suffice.
    """

    def __init__(
        self,
        model_path: str | Path,
        *,
        port: int = 0,
        threads: int = 0,
        slots: int = 4,
        ctx: int = 4096,
        cache_ram_mib: int = 256,
        kv_type: str = "f16",
        log_path: str | Path | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ):
        if kv_type not in KV_TYPES:
            raise ModelError(f"local.kv_type: {kv_type!r} is not one of {', '.join(KV_TYPES)}")
        self.model_path = Path(model_path)
        self.model: ModelFile | None = None
        self.key = secrets.token_hex(24)
        self._slots, self._ctx, self._kv_type = slots, ctx, kv_type
        threads = threads or len(os.sched_getaffinity(0))

        def options(at: int) -> Options:
            return Options(
                model=str(self.model_path), port=at, key=self.key, threads=threads, slots=slots, context_tokens=ctx,
                cache_ram_mib=cache_ram_mib, kv_type=kv_type,
            )  # fmt: skip

        self._child = Child(
            "jevons.engines.local_child",
            options,
            name=f"{self.model_path}: the local engine",
            port=port,
            log_path=Path(log_path) if log_path else None,
            start_timeout_s=start_timeout_s,
        )

    async def start(self) -> None:
        """Start and wait until it answers. Raises ModelError."""
        self.model = await asyncio.to_thread(read, self.model_path)
        check_memory(self.model, kv_type=self._kv_type, ctx=self._ctx, slots=self._slots)
        try:
            await self._child.start()
        except ChildError as error:
            raise ModelError(error.message) from None

    async def stop(self) -> None:
        """End the child; returns when it is gone."""
        await self._child.stop()

    @property
    def ready(self) -> bool:
        return self._child.ready

    @property
    def url(self) -> str:
        """Its root, without /v1; known from `start` on."""
        return self._child.url

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def restarts(self) -> int:
        return self._child.restarts

    async def wait_ready(self, timeout_s: float) -> bool:
        """True when it answers within the time: for callers that would rather wait out a restart."""
        return await self._child.wait_ready(timeout_s)

    async def health(self) -> Health:
        return await self._child.health()

    def provider(self, name: str = "local", dialect: str = "openai") -> Provider:
        """The engine as an upstream. Its key is to be found under KEY_VARIABLE."""
        base = f"{self.url}/v1" if dialect == "openai" else self.url
        return Provider(
            name=name, dialect=dialect, base_url=base, key_env=KEY_VARIABLE, surfaces=SURFACES[dialect],
            price_provider=name, local=True, private=True,
        )  # fmt: skip


def check_memory(model: ModelFile, *, kv_type: str, ctx: int, slots: int, free: int | None = None) -> None:
    """Raises ModelError when the model can't fit into `free` bytes (None: what the machine has)."""
    free = free_bytes() if free is None else free
    kv = model.kv_bytes_per_token(kv_type) * ctx * slots
    need = model.size_bytes + kv + COMPUTE_BYTES
    if free is not None and need > free:
        raise ModelError(
            f"{model.path}: needs about {need // MIB} MiB ({model.size_bytes // MIB} for the weights, {kv // MIB} for "
            f"{slots} contexts of {ctx} tokens), and {free // MIB} MiB are free. Lower local.context_tokens or "
            "local.slots, or choose a smaller model."
        )


def free_bytes() -> int | None:
    """Memory that a new process can have: the machine's, or the control group's when that is less."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    machine = next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:")), None
    )
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return machine
    if limit == "max" or machine is None:
        return machine
    return min(machine, max(0, int(limit) - used))
