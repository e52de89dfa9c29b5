"""What the pooled upstream client costs, with and without TLS, beside aiohttp where that is installed.

A simulated provider runs in a process of its own; this one sends chat calls over kept connections, sixteen at a time,
and reports its own CPU time per call. The two clients take turns, so that a change of the machine's speed hits both.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from jevons.engines.http import Limits, Pool

CALLS, AT_ONCE, ROUNDS = 400, 16, 5
LIMITS = Limits()
Send = Callable[[bytes], Awaitable[bytes]]


def body(kilobytes: int) -> bytes:
    words = "the agent reads a file then plans the next step and calls a tool " * (kilobytes * 16)
    message = {"role": "user", "content": words[: kilobytes * 1000]}
    return json.dumps({"model": "gpt-4o-mini", "max_tokens": 20, "messages": [message]}).encode()


def certificate(folder: Path) -> tuple[str, str]:
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            key,
            "-out",
            cert,
            *subject,
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


async def measure(send: Send, payload: bytes) -> float:
    """CPU seconds of this process per call."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            assert (await send(payload)).startswith(b"{")

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(CALLS)))
    return (time.process_time() - began) / CALLS


async def compare(url: str, context: ssl.SSLContext | None) -> dict[str, dict[str, float]]:
    pool = Pool(url, ssl_context=context)

    async def ours(payload: bytes) -> bytes:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {pool.authority}\r\nauthorization: Bearer k\r\n"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        )
        return await (await pool.send(head.encode(), payload, LIMITS)).whole()

    clients: dict[str, Send] = {"jevons": ours}
    session: Any = None
    try:
        import aiohttp
    except ImportError:
        print("aiohttp is not installed here: its row is left out", file=sys.stderr)
    else:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context or False), auto_decompress=False
        )

        async def theirs(payload: bytes) -> bytes:
            headers = {"authorization": "Bearer k", "content-type": "application/json"}
            async with session.post(f"{url}/v1/chat/completions", data=payload, headers=headers) as reply:
                return bytes(await reply.read())

        clients["aiohttp"] = theirs
    found: dict[str, dict[str, float]] = {}
    for size in (2, 100):
        rounds: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, send in clients.items():
                rounds[name].append(await measure(send, body(size)))
        found[f"{size} KB"] = {name: median(times) * 1e6 for name, times in rounds.items()}
    pool.close()
    if session is not None:
        await session.close()
    return found


def run(tls: bool) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jevons.engines.simulated", "--port", "0"]
        context = None
        if tls:
            cert, key = certificate(Path(folder))
            command += ["--cert", cert, "--key", key]
            context = ssl.create_default_context(cafile=cert)
        provider = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert provider.stdout is not None
            url = next(word for word in provider.stdout.readline().split() if word.startswith("http"))
            try:
                import uvloop

                return uvloop.run(compare(url.rstrip("/"), context))
            except ImportError:
                return asyncio.run(compare(url.rstrip("/"), context))
        finally:
            provider.kill()
            provider.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {"plain": run(tls=False), "tls": run(tls=True)}
    if options.json:
        print(json.dumps(result))
        return
    for kind, sizes in result.items():
        for size, clients in sizes.items():
            print(f"{kind:6s} {size:>7s}  " + "  ".join(f"{name} {us:7.1f} us" for name, us in clients.items()))


if __name__ == "__main__":
    main()
