"""What a person sees when the gateway has started: the address, the key if it is new, and lines to paste.

What lives here: the words. What it must not know: how anything is started.
"""

import os
import time

from jevons.plans import key as keys
from jevons.store import keys as rows
from jevons.store.migrate import open_database


def first_key(database: str) -> str | None:
    """Make a key when there is no live one. Returns its secret, to be shown once, or None."""
    with open_database(database) as db:
        if any(key.revoked is None for key in rows.every(db)):
            return None
        secret = keys.secret(os.urandom(keys.SECRET_BYTES))
        rows.add(db, keys.make(secret, name="first", created=time.time(), role="admin"))
        return secret


def greeting(address: str, secret: str | None, model: str) -> str:
    """Address, key, and how to use them with curl, Python and Claude Code."""
    shown = secret or "$JEVONS_KEY"
    if secret:
        about = f"  key      {secret}\n           (shown once: it is stored as a hash; `jevons keys create` makes more)"
    else:
        about = "  key      the one that was shown when it was made; `jevons keys create --name me` makes another"
    return f"""
jevons is at {address}
{about}

  curl     curl {address}/v1/chat/completions -H 'authorization: Bearer {shown}' \\
             -H 'content-type: application/json' \\
             -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'

  python   from openai import OpenAI
           client = OpenAI(base_url="{address}/v1", api_key="{shown}")
           print(client.chat.completions.create(model="{model}",
                 messages=[{{"role": "user", "content": "Say hello."}}]).choices[0].message.content)

  claude   ANTHROPIC_BASE_URL={address} ANTHROPIC_API_KEY='{shown}' claude
           (needs ANTHROPIC_API_KEY where jevons runs, for claude-... models)

  bill     jevons log --last 10        each call with its cost
  look     {address}/                  the dashboard (sign in with an admin or viewer key)
  stop     Ctrl-C
"""
