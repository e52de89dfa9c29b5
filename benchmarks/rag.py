"""What sentence selection keeps of retrieved documents, at a given ratio, per data set.

answer_kept: share of items (with an answer that the documents hold) whose kept sentences still hold one of the answers.
gold_kept: mean share of the supporting sentences kept. tokens_ratio: tokens kept / tokens given, all items. abstained:
share of items left whole; an item left whole keeps everything. `*_selected`: only items that were
not left whole. Control, `*_head`: the documents' first 1/ratio. Nothing is fitted here.
"""

import argparse
import json
import lzma
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from jevons.levers.trim.rag import Document, Selection, select


def rows(path: Path) -> list[dict[str, Any]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        return [json.loads(line) for line in lines]


def mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def score(items: list[dict[str, Any]], texts: dict[str, Document], ratio: float) -> dict[str, Any]:
    """The contract's figures for one set."""
    answers: list[float] = []
    answers_selected: list[float] = []
    gold: list[float] = []
    gold_selected: list[float] = []
    head: list[float] = []
    abstained: list[float] = []
    before = after = 0.0
    reasons: dict[str, int] = defaultdict(int)
    for item in items:
        documents = [texts[name] for name in item["docs"]]
        got = select(item["q"], documents, ratio)
        before, after = before + got.tokens_before, after + got.tokens_after
        abstained.append(float(bool(got.abstained)))
        if got.abstained:
            reasons[got.abstained] += 1
        kept = " ".join(documents[at].sentences[number] for at, number in got.kept)
        whole = " ".join(sentence for document in documents for sentence in document.sentences)
        if any(answer in whole for answer in item["answers"]):
            found = float(any(answer in kept for answer in item["answers"]))
            answers.append(found)
            head.append(float(any(answer in whole[: int(len(whole) / ratio)] for answer in item["answers"])))
            if not got.abstained:
                answers_selected.append(found)
        share = _gold(item, got)
        if share is not None:
            gold.append(share)
            if not got.abstained:
                gold_selected.append(share)
    return {
        "answer_kept": mean(answers),
        "gold_kept": mean(gold),
        "tokens_ratio": round(after / before, 4) if before else None,
        "abstained": mean(abstained),
        "answer_kept_selected": mean(answers_selected),
        "gold_kept_selected": mean(gold_selected),
        "answer_kept_head": mean(head),
        "items": len(items),
        "reasons": dict(reasons),
    }


def _gold(item: dict[str, Any], got: Selection) -> float | None:
    wanted = {(name, number) for name, number in item.get("gold") or ()}
    if not wanted:
        return None
    kept = {(item["docs"][at], number) for at, number in got.kept}
    return len(wanted & kept) / len(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--ratio", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0, help="unused: nothing here is random")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    options = parser.parse_args()
    texts = {row["doc"]: Document(str(row.get("title") or ""), tuple(row["sents"])) for row in rows(options.docs)}
    sets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in rows(options.items):
        sets[item["set"]].append(item)
    figures: dict[str, Any] = {}
    for name, items in sets.items():
        print(name, file=sys.stderr)
        figures[name] = score(items, texts, options.ratio)
    if options.json:
        print(json.dumps(figures))
        return
    keys = (
        "answer_kept",
        "gold_kept",
        "tokens_ratio",
        "abstained",
        "answer_kept_selected",
        "gold_kept_selected",
        "answer_kept_head",
    )
    print(f"{'set':<20}" + "".join(f"{key:>22}" for key in keys))
    for name, row in figures.items():
        print(
            f"{name:<20}" + "".join(f"{row[key] if row[key] is not None else '-':>22}" for key in keys), row["reasons"]
        )


if __name__ == "__main__":
    main()
