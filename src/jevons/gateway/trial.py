"""One real call through the gateway itself, over its own socket: what `make run` shows first.

What lives here: the call and what is printed of it. What it must not know: how the gateway is built; it is a client.
"""

import os

import msgspec

from jevons.engines.http import ExchangeFailed, Limits, Pool
from jevons.gateway.house import Housekeeping
from jevons.plans import key as keys

QUESTION = "In one sentence: what is a steam engine?"
MAX_TOKENS = 60
PATIENCE = Limits(connect_s=5.0, first_byte_s=120.0, idle_s=60.0, total_s=180.0)


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    choices: list[_Choice]


async def trial(housekeeping: Housekeeping, address: str) -> str:
    """Ask the local model a question through the gateway. Returns what to print. Its key lives only in memory."""
    model = housekeeping.local.model
    if not model:
        why = (
            housekeeping.local.error
            or "there is no model file; `make run` or `jevons model fetch` brings the default one"
        )
        return f"no trial call: {why}"
    secret = keys.secret(os.urandom(keys.SECRET_BYTES))
    housekeeping.keys.change(keys.make(secret, name="trial"))
    body = msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: jevons\r\nauthorization: Bearer {secret}\r\n"
        f"content-type: application/json\r\nx-jevons-task: trial\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    pool = Pool(address)
    try:
        exchange = await pool.send(head.encode(), body, PATIENCE)
        reply = await exchange.whole()
    except ExchangeFailed as failure:
        return f"the trial call failed: {failure}"
    finally:
        pool.close()
    if exchange.status != 200:
        return f"the trial call failed ({exchange.status}): {reply.decode('utf-8', 'replace')}"
    text = msgspec.json.decode(reply, type=_Answer).choices[0].message.content or ""
    cost = exchange.header(b"x-jevons-cost").decode()
    return (
        f"  asked    {QUESTION}\n  answer   {' '.join(text.split())}\n"
        f"  cost     ${cost} (modelled: the machine's price by the seconds it took)\n"
        f"  booked   {exchange.header(b'x-jevons-operation').decode()}; see `jevons log --last 1`"
    )
