"""How often the semantic cache answers, and how often it is wrong: replayed streams of labelled questions.

A label is looked at only after a miss or an audit, as a fresh answer would show it; audits count as misses. Every
policy sees the same orders. The index, its gate and its coin are the running worker's; here are streams and counts.

    .venv/bin/python -m benchmarks.cache --data FILE [--stream dedup|zipf] [--orders 20] [--policies jevons vcache ...]
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.cache_baselines import Cosine, Exact, Policy, VCache
from benchmarks.cache_stream import Row, Texts, fingerprint, load, stream
from benchmarks.halves import bootstrap, interval, say, table
from jevons.core.call import Call, Caller, Peek, Surface
from jevons.engines.embed import Embedder
from jevons.levers.cache.semantic import gate
from jevons.levers.cache.semantic.index import Found, SemanticIndex
from jevons.levers.cache.semantic.question import ask
from jevons.levers.cache.semantic.word_vectors import WordVectors

NAMES = (
    "jevons@request:0.01", "jevons@request:0.02", "jevons@request:0.05", "jevons@hit:0.05", "exact", "cosine:0.80",
    "cosine:0.90", "cosine:0.95", "vcache@request:0.01", "vcache@request:0.02", "vcache@request:0.05",
)  # fmt: skip
SETTLED = 500
"""Requests from which the bound is looked at, at every one."""
TIMED = 300
"""Look-ups timed through the real embedders and the real shelf, beside a full cache."""
PROBED = 100
"""Texts asked again from another tenant, model, system, tools, parameters."""


class Jevons:
    """The product's index behind the two verbs of a policy."""

    def __init__(self, texts: Texts, level: float, unit: Any, seed: int):
        self.index = SemanticIndex(
            gate.Policy(level, unit),
            texts.embed,
            texts.embed_words,
            random.Random(seed),
            shelf=texts.shelf,
            judge=texts.judge,
        )
        self.found = Found(kind="miss")

    def look_up(self, ns: str, text: str) -> str | None:
        self.found = self.index.look_up(ns, text)
        return self.found.answer if self.found.served else None

    def learn(self, ns: str, text: str, answer: str) -> None:
        del ns, text
        self.index.learn(self.found.ticket, answer, "")


def make(name: str, texts: Texts, seed: int) -> Policy:
    kind, _, level = name.partition(":")
    family, _, unit = kind.partition("@")
    if family == "jevons":
        return Jevons(texts, float(level), unit, seed)
    if family == "vcache":
        return VCache(texts, float(level), seed)
    return Cosine(texts, float(level)) if family == "cosine" else Exact(texts)


def replay(name: str, texts: Texts, rows: list[Row], seed: int) -> dict[str, float]:
    """One policy through one stream."""
    policy = make(name, texts, seed)
    level, per_hit = float(name.partition(":")[2] or 1), "@hit" in name
    seen: set[tuple[str, str]] = set()
    hits = correct = new = first = 0
    worst = 0.0
    for at, row in enumerate(rows, start=1):
        served = policy.look_up(row.ns, row.prompt)
        if served is None:
            policy.learn(row.ns, row.prompt, row.answer)
        else:
            fresh = (row.ns, row.prompt) not in seen
            first = first or at * fresh
            hits += 1
            correct += served == row.answer
            new += fresh and served == row.answer
        seen.add((row.ns, row.prompt))
        if at >= SETTLED:
            worst = max(worst, (hits - correct) / (max(1, hits) if per_hit else at))
    audits = policy.index.gate.audits if isinstance(policy, Jevons) else 0
    return {
        "correct_hits": correct / len(rows),
        "hits": hits / len(rows),
        "correct_nonexact_hits": new / len(rows),
        "error_per_request": (hits - correct) / len(rows),
        "error_per_hit": (hits - correct) / max(1, hits),
        "orders_kept": float(worst <= level or "@" not in name),
        "worst_error": worst,
        "audits": audits,
        "opened_at": first,
    }


def summary(runs: list[dict[str, float]], seed: int) -> dict[str, Any]:
    """Means over orders, with the interval of the headline."""
    means: dict[str, Any] = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    means["worst_error"] = max(run["worst_error"] for run in runs)
    values = np.array([run["correct_hits"] for run in runs])
    if len(values) > 1:
        means["correct_hits_interval"] = interval(bootstrap(len(values), lambda rows: float(values[rows].mean()), seed))
    return means


def latency(rows: list[Row], texts: Texts) -> dict[str, float]:
    """A look-up with the real embedders and the product's shelf beside all rows of the file: one core's own time, and
    what a clock on the wall said on this machine.
    """
    embedder, words = Embedder.load(), WordVectors.load()
    ready = SemanticIndex(gate.Policy(0.01), texts.embed, texts.embed_words, random.Random(0))
    for row in rows:
        ready.learn(ready.look_up(row.ns, row.prompt).ticket, row.answer, "")
    ready._embed, ready._embed_words = embedder.embed, words.embed  # noqa: SLF001 - the same index, now without a table
    took, wall = [], []
    for row in random.Random(1).sample(rows, min(TIMED, len(rows))):
        began, burned = time.perf_counter(), time.thread_time()
        ready.look_up(row.ns, f"{row.prompt} please")
        took.append(1e3 * (time.thread_time() - burned))
        wall.append(1e3 * (time.perf_counter() - began))
    return {
        "lookup_ms_p50": float(np.quantile(took, 0.5)),
        "lookup_ms_p95": float(np.quantile(took, 0.95)),
        "lookup_wall_ms_p95": float(np.quantile(wall, 0.95)),
        "lookup_entries": len(ready),
    }


def crossing(rows: list[Row], texts: Texts) -> dict[str, int]:
    """Look-ups that were served although the tenant, model, system, tools or parameters were others: must be none."""
    index = SemanticIndex(gate.Policy(0.01), texts.embed, texts.embed_words, random.Random(0))
    chosen = rows[:PROBED]
    home = _partition("tenant", "model", {})
    for row in chosen:
        index.learn(index.look_up(home, row.prompt).ticket, row.answer, "")
    others = {
        "tenant": _partition("other", "model", {}),
        "model": _partition("tenant", "other", {}),
        "system": _partition("tenant", "model", {"system": "Answer in French."}),
        "tools": _partition("tenant", "model", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        "parameters": _partition("tenant", "model", {"temperature": 0.5}),
    }
    served = {name: sum(index.look_up(other, row.prompt).served for row in chosen) for name, other in others.items()}
    say(f"at home {sum(index.look_up(home, row.prompt).served for row in chosen)} of {len(chosen)} are served")
    return served


def _partition(tenant: str, model: str, more: dict[str, Any]) -> str:
    system = [{"role": "system", "content": more.get("system", "Answer.")}]
    fields = {key: value for key, value in more.items() if key != "system"}
    body = {"model": model, "messages": [*system, {"role": "user", "content": "a question"}], **fields}
    call = Call(
        operation="probe",
        surface=Surface.CHAT,
        caller=Caller(key_id="k", tenant=tenant),
        peek=Peek(model=model),
        body=msgspec.json.encode(body),
        headers={},
        at=0.0,
    )
    question = ask(call, ["provider/model"], 0.01, "request")
    assert question is not None
    return question.namespace


def measure(name: str, rows: list[Row], texts: Texts, kind: str, orders: int, seed: int) -> list[dict[str, float]]:
    began = time.monotonic()
    runs = [replay(name, texts, stream(rows, kind, seed + order), seed + 1000 + order) for order in range(orders)]
    say(f"{name}: {orders} orders in {time.monotonic() - began:.0f} s, correct hits {runs[0]['correct_hits']:.3f} ...")
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="JSON lines of {prompt, answer, ns?, dup?}, .gz or plain")
    parser.add_argument("--stream", choices=("dedup", "zipf"), default="dedup")
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--policies", nargs="*", default=[], help="only those whose name begins with one of these")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--vectors", type=Path, default=None, help="a folder to keep embeddings in between runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = load(asked.data)
    kept = asked.vectors / f"{fingerprint(rows)}.npy" if asked.vectors else None
    texts = Texts(rows, kept)
    names = [name for name in NAMES if not asked.policies or name.startswith(tuple(asked.policies))]
    work: Callable[[str], list[dict[str, float]]] = lambda name: measure(  # noqa: E731
        name, rows, texts, asked.stream, asked.orders, asked.seed
    )
    runs = _spread(work, names, asked.jobs)
    took = latency(stream(rows, "dedup", asked.seed), texts)
    result = {
        "stream": asked.stream,
        "orders": asked.orders,
        "requests": len(stream(rows, asked.stream, asked.seed)),
        "policies": {name: summary(run, asked.seed) for name, run in zip(names, runs, strict=True)},
        **took,
        "crossed": crossing(rows, texts),
    }
    if asked.json:
        print(json.dumps(result))
        return
    shown = ("correct_hits", "hits", "error_per_request", "error_per_hit", "worst_error", "orders_kept", "audits")
    table(
        f"{asked.data}, {asked.stream}: means over {asked.orders} orders of {result['requests']} requests",
        ("policy", *shown, "correct hits, 95%"),
        [
            (
                name,
                *(round(float(found[key]), 4) for key in shown),
                " to ".join(f"{edge:.3f}" for edge in found.get("correct_hits_interval", ())),
            )
            for name, found in result["policies"].items()
        ],
    )
    print(f"a look-up beside {took['lookup_entries']:.0f} entries: " + json.dumps(took))
    print(f"served across a partition: {result['crossed']}")


def _spread(work: Callable[[str], list[dict[str, float]]], names: list[str], jobs: int) -> list[list[dict[str, float]]]:
    """Policies over processes; a fork shares the vectors."""
    if jobs == 1:
        return [work(name) for name in names]
    global _work  # noqa: PLW0603 - what a fork inherits
    _work = work
    with get_context("fork").Pool(jobs) as pool:
        return pool.map(_inherited, names, chunksize=1)


def _inherited(name: str) -> list[dict[str, float]]:
    return _work(name)


_work: Callable[[str], list[dict[str, float]]]

if __name__ == "__main__":
    main()
