"""Flips and paraphrases: a question is kept, its twin is asked. Is the kept one's answer served for it?

An index is trained on a stream of questions, as the running worker would be; then for each pair (a, b) the answer to b
is kept as well and a is asked. A pair counts as served when what comes back is b's answer, by whichever entry. Beside
it, `direct`: only b's own entry counts. Cross-fitted by the text of a: the index that judges a pair never saw a, so no
index ever learned the pair's label. Served means at the threshold that the gate ends with under the policy asked for.

    .venv/bin/python -m benchmarks.pairs --data PAIRS --train QUESTIONS [--level 0.025] [--unit hit|request]
"""

import argparse
import gzip
import json
import random
from collections import Counter
from typing import Any

import msgspec
import numpy as np

from benchmarks.cache_stream import Row, Texts, load, stream
from benchmarks.halves import bootstrap, half, interval, say, table
from jevons.levers.cache.semantic.gate import Policy
from jevons.levers.cache.semantic.index import SemanticIndex, compare_texts


class Pair(msgspec.Struct, frozen=True):
    """label 1: the same answer in other words; 0: another answer in nearly the same words."""

    ns: str
    a: str
    b: str
    label: int


def read_pairs(path: str) -> list[Pair]:
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        return [msgspec.json.decode(line, type=Pair) for line in file]


def train(rows: list[Row], texts: Texts, policy: Policy, seed: int) -> SemanticIndex:
    """An index after one pass over a shuffled stream, with the product's own shelf."""
    index = SemanticIndex(policy, texts.embed, texts.embed_words, random.Random(seed))
    for row in stream(rows, "dedup", seed):
        index.learn(index.look_up(row.ns, row.prompt).ticket, row.answer, "")
    return index


class Judged(msgspec.Struct, frozen=True):
    """One pair's fate."""

    pair: Pair
    served: bool
    direct: bool
    risk: float


def judge(pairs: list[Pair], rows: list[Row], texts: Texts, policy: Policy, seed: int) -> list[Judged]:
    """Every pair under the index that never saw its first text."""
    answers = {(row.ns, row.prompt): row.answer for row in rows}
    indexes = [train([row for row in rows if half(row.prompt) == side], texts, policy, seed) for side in (0, 1)]
    for index in indexes:
        say(f"trained on {len(index)} entries, threshold {index.gate.threshold:.4f}")
    judged = []
    for pair in pairs:
        answer = answers.get((pair.ns, pair.b), f"the answer to {pair.b}")
        found = indexes[1 - half(pair.a)].explain(pair.ns, pair.a, pair.b, answer)
        served = found.served and found.answer == answer
        judged.append(Judged(pair, served, served and found.text == pair.b, found.risk))
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="JSON lines of {ns, a, b, label}, .gz or plain")
    parser.add_argument("--train", required=True, help="JSON lines of {prompt, answer, ns, template, dup}")
    parser.add_argument("--level", type=float, default=0.025)
    parser.add_argument("--unit", choices=("request", "hit"), default="hit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    pairs, rows = read_pairs(asked.data), load(asked.train)
    more = [Row(text, "", pair.ns) for pair in pairs for text in (pair.a, pair.b)]
    texts = Texts([*rows, *more])
    judged = judge(pairs, rows, texts, Policy(asked.level, asked.unit), asked.seed)
    refused = np.array([not found.served for found in judged if found.pair.label == 0])
    served = np.array([found.served for found in judged if found.pair.label == 1])
    vetoes = [(pair.label, compare_texts(pair.a, pair.b).vetoed) for pair in pairs]
    result: dict[str, Any] = {
        "flips_refused": float(refused.mean()),
        "flips_refused_interval": _interval(refused, asked.seed),
        "same_served": float(served.mean()),
        "same_served_interval": _interval(served, asked.seed),
        "direct_flips_refused": float(np.mean([not found.direct for found in judged if found.pair.label == 0])),
        "direct_same_served": float(np.mean([found.direct for found in judged if found.pair.label == 1])),
        "flips": len(refused),
        "same": len(served),
        "vetoes": dict(Counter(veto for label, veto in vetoes if label == 0 and veto)),
        "vetoed_same": sum(bool(veto) for label, veto in vetoes if label == 1),
    }
    if asked.json:
        print(json.dumps(result))
        return
    table(
        f"pairs at {asked.level:g} per {asked.unit}",
        ("", "share", "95%", "pairs"),
        [
            ("flips refused", result["flips_refused"], result["flips_refused_interval"], len(refused)),
            ("paraphrases served", result["same_served"], result["same_served_interval"], len(served)),
        ],
    )
    print(f"vetoes of flips: {result['vetoes']}; paraphrases vetoed: {result['vetoed_same']}")
    print(f"by b's own entry: {result['direct_flips_refused']:.4f} refused, {result['direct_same_served']:.4f} served")
    for found in judged:
        if found.served and found.pair.label == 0:
            print(f"  served though a flip [{found.pair.ns}] at {found.risk:.4f}: {found.pair.a!r} / {found.pair.b!r}")


def _interval(values: Any, seed: int) -> tuple[float, float]:
    return interval(bootstrap(len(values), lambda rows: float(values[rows].mean()), seed))


if __name__ == "__main__":
    main()
