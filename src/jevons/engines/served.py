"""Which model files are served under which names besides the default one: `.jevons/models.toml`, read and written.

`jevons models add` writes it, the gateway follows it. What must not be here: serving.
"""

import json
import re
import tempfile
import tomllib
from pathlib import Path

import msgspec

from jevons.core.errors import SettingsError
from jevons.engines.local_child import KV_TYPES

FILE = Path(".jevons/models.toml")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
RESERVED = ("local", "minilm", "local-embed")
MAX_SERVED = 16
"""Each is a process with its weights in memory."""


class Served(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file's serving. Prices 0: priced by the seconds of a call at the machine's price."""

    path: str
    slots: int = 4
    context_tokens: int = 4096
    kv_type: str = "f16"
    usd_per_mtok_in: float = 0.0
    usd_per_mtok_out: float = 0.0
    """Dollars per million tokens on this machine, as `jevons bench local` measured them."""
    priced_by: str = ""
    """What measured the price, with its date."""


def read(file: Path = FILE) -> dict[str, Served]:
    """By public name; empty when there is no file. Raises SettingsError."""
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: can't be read: {error}") from None
    try:
        found = msgspec.convert(tree.get("models", {}), dict[str, Served])
    except msgspec.ValidationError as error:
        raise SettingsError(f"{file}: {error}") from None
    for name, one in found.items():
        check(name, one, str(file))
    if len(found) > MAX_SERVED:
        raise SettingsError(f"{file}: {len(found)} models; at most {MAX_SERVED} are served")
    return found


def check(name: str, one: Served, where: str) -> None:
    """Raises SettingsError."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise SettingsError(f"{where}: {name!r} is no name for a model: a-z, 0-9, '.', '_', '-'; not {RESERVED}")
    if one.kv_type not in KV_TYPES:
        raise SettingsError(f"{where}: {name}.kv_type {one.kv_type!r} is not one of {', '.join(KV_TYPES)}")
    if not 1 <= one.slots <= 256 or not 16 <= one.context_tokens <= 10**7:
        raise SettingsError(f"{where}: {name}: slots must be 1 to 256, context_tokens 16 to 10,000,000")
    if one.usd_per_mtok_in < 0 or one.usd_per_mtok_out < 0:
        raise SettingsError(f"{where}: {name}: a price below 0")


def write(models: dict[str, Served], file: Path = FILE) -> None:
    """All of them, in one step: a reader sees the old file or the new one."""
    lines = ["# Written by `jevons models add`; the gateway follows it while it runs.\n"]
    for name, one in sorted(models.items()):
        check(name, one, str(file))
        lines.append(f"\n[models.{json.dumps(name)}]\n")
        lines += [f"{key} = {_toml(value)}\n" for key, value in msgspec.to_builtins(one).items()]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as scratch:
        scratch.writelines(lines)
    Path(scratch.name).replace(file)


def _toml(value: str | float) -> str:
    """A text or a number. JSON's escapes are TOML's, but for surrogate pairs and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
