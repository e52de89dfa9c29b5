"""Which quantization to deploy, and what serving it here costs: measured on this machine's processor.

    python -m benchmarks.local --model GGUF... [--json] [--seed N] [--text FILE] [--tasks FILE.jsonl]
    python -m benchmarks.local --serving [--model GGUF] [--json]

Per model: bits_per_weight (from the tensors' types), kld and kld_se in nats a token against the best-precision file
over the whole vocabulary (the control: the file against itself is 0), same_top, perplexity, tokens per CPU-second of
prefill and of decoding 1, 2, 4, 8 sequences, KV bytes per token, dollars per million tokens at --usd-hour. Nothing is
fitted, so there is no half to hold out; windows are taken from the text's start, and --seed changes nothing but the
order of the serving measurement. Without --text it is the topics that Python's own `pydoc` carries.
--serving measures continuous batching, prefix reuse and our supervised process against xllamacpp alone.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from jevons.core.errors import JevonsError
from jevons.engines.modelfile import DEFAULT_DIRECTORY, default_path
from jevons.lab import localbench
from jevons.lab.localbench_serving import serving
from jevons.lab.localbench_table import show
from jevons.lab.localbench_tasks import load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", type=Path, default=[default_path(DEFAULT_DIRECTORY)], help="GGUF files.")
    parser.add_argument("--text", type=Path, help="Text to read (default: Python's own pydoc topics).")
    parser.add_argument("--tasks", type=Path, help="The user's tasks, JSONL.")
    parser.add_argument(
        "--windows",
        type=int,
        choices=range(2, 513),
        metavar="N",
        default=localbench.WINDOWS,
        help="Windows of 512 tokens.",
    )
    parser.add_argument("--kv", default=",".join(localbench.KV_TYPES), help="KV types.")
    parser.add_argument("--usd-hour", type=float, default=0.10, help="The machine's price, all cores.")
    parser.add_argument("--reference", default="", help="The best-precision file, by name.")
    parser.add_argument("--serving", action="store_true", help="Measure serving in place of files.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        if given.serving:
            result = msgspec.json.encode(serving(given.model[0], seed=given.seed, report=_say))
            print((result if given.json else msgspec.json.format(result)).decode())
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            tasks, wrong = load(given.tasks) if given.tasks else ([], [])
            for line in wrong:
                _say(line)
            setup = localbench.Setup(
                text=given.text or localbench.default_text(Path(scratch)), windows=given.windows,
                kv_types=tuple(given.kv.split(",")), usd_per_hour=given.usd_hour, reference=given.reference,
                tasks=tuple(tasks),
            )  # fmt: skip
            found = localbench.bench(given.model, setup, _say)
    except JevonsError as error:
        print(error.message, file=sys.stderr)
        return 1
    if given.json:
        print(msgspec.json.encode(contract(found)).decode())
    else:
        show(found)
    return 0


def contract(found: localbench.Bench) -> dict[str, object]:
    """The result with the documented keys per model, and everything else beside them."""
    models = {}
    for row in found.rows:
        facts = msgspec.to_builtins(row)
        models[row.name] = facts | {
            "kld": row.kld.mean, "kld_se": row.kld.se, "kld_interval": [row.kld.low, row.kld.high],
            "same_top": row.same_top.mean, "same_top_interval": [row.same_top.low, row.same_top.high],
        }  # fmt: skip
    rest = {"reference": Path(found.reference).name, "scored_tokens": found.text_tokens, "engine": found.engine}
    return {"models": models, "kv": msgspec.to_builtins(found.kv), "choice": msgspec.to_builtins(found.choice)} | rest


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
