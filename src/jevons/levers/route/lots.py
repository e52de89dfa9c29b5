"""Draws without dice: a share of calls or tasks by salted hash, the same on every worker and in replay.

What it decides: whether a key falls within a share. What it must not know: what the share is for.
"""

import hashlib

from jevons.core.call import Call


def falls(share: float, *parts: str) -> bool:
    """Whether these parts (a purpose first) fall within the share, in [0, 1]."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def task_of(call: Call) -> str:
    """What stays together: the task, else the one call."""
    return call.task.task if call.task is not None and call.task.task else call.operation
