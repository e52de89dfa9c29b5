"""Data sets and recipes to fine-tune a small model elsewhere: OpenAI's and Hugging Face's JSONL, a LoRA recipe.

What lives here: the lines and the text. What it must not know: files, where the pairs came from, who trains. Formats:
OpenAI's fine-tuning guide (`{"messages": [...]}` a line) and TRL's prompt-completion form in conversational style.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

HELD_OUT = 0.1
"""Share of examples that are kept for evaluation, by the prompt's hash: reruns and larger exports keep the split."""
FEWEST_FOR_OPENAI = 10
"""OpenAI refuses a smaller training file."""


class Pair(msgspec.Struct, frozen=True):
    """One verified call: the site's system text, the user's prompt, the large model's answer."""

    system: str
    prompt: str
    answer: str


def deduplicated(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Each (system, prompt) once, with its last answer, in order of first appearance."""
    last: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        last[pair.system, pair.prompt] = pair
    yield from last.values()


def held_out(pair: Pair) -> bool:
    """Whether a pair is for evaluation."""
    digest = hashlib.sha256(pair.prompt.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT


def openai_lines(pairs: Iterable[Pair]) -> Iterator[bytes]:
    """One chat a line, for an OpenAI-compatible fine-tuning API."""
    for pair in pairs:
        yield msgspec.json.encode({"messages": [*_asked(pair), {"role": "assistant", "content": pair.answer}]}) + b"\n"


def hugging_face_lines(pairs: Iterable[Pair]) -> Iterator[bytes]:
    """One prompt and completion a line, as `datasets` loads and TRL's SFTTrainer takes them."""
    for pair in pairs:
        completion = [{"role": "assistant", "content": pair.answer}]
        yield msgspec.json.encode({"prompt": _asked(pair), "completion": completion}) + b"\n"


def recipe(site: str, base_model: str, train: int, evaluation: int, adapter: str) -> str:
    """How to train a LoRA adapter on the exported files, serve it with vLLM, and let it compete. Markdown."""
    steps = max(1, train * 3 // 16)
    return f"""# Fine-tune {base_model} for call site {site}

{train} examples in train.jsonl, {evaluation} in eval.jsonl (held out by the prompt's hash).

1. Train an adapter (needs a GPU; about {steps} steps of 16 examples, three passes):

       trl sft --model_name_or_path {base_model} --dataset_name json --data_files train.jsonl \\
         --use_peft --lora_r 16 --lora_alpha 32 --lora_target_modules all-linear \\
         --learning_rate 2e-4 --num_train_epochs 3 --per_device_train_batch_size 4 \\
         --gradient_accumulation_steps 4 --completion_only_loss true --output_dir {adapter}

2. Serve it beside its base model:

       vllm serve {base_model} --enable-lora --lora-modules {adapter}=./{adapter}

3. Name that server as a provider in jevons' settings, and let it compete:

       jevons promote start --site {site} --candidate {adapter}

It answers nothing before its shadows have shown that it is not worse than the plan's margin.
"""


def _asked(pair: Pair) -> list[dict[str, str]]:
    system = [{"role": "system", "content": pair.system}] if pair.system else []
    return [*system, {"role": "user", "content": pair.prompt}]
