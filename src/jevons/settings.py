"""Process settings: one frozen tree from jevons.toml, then the environment, then the command line.

What lives here: every setting with its default, and the refusal of a key that is not one. What does not: plans, keys
and customers (they live in the database), and secrets (only where to find them: a variable or a file).
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from jevons.core.errors import SettingsError

MIB = 1024 * 1024


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of jevons.toml. Unknown keys are refused, never ignored."""


class Server(Section, frozen=True):
    host: str = "127.0.0.1"
    port: int = 8787
    workers: int = 1
    metrics_port: int = 0
    """With several workers: worker 0 also listens here, worker 1 one port higher, ..., to be scraped one by one."""
    max_body_bytes: int = 32 * MIB
    drain_s: float = 20.0
    """How long running calls may go on after a stop was asked for."""


class Database(Section, frozen=True):
    url: str = "sqlite:///.jevons/jevons.db"
    durability: str = "batched"
    """batched: on disk within 100 ms of the answer. strict: before the answer's last byte leaves."""
    window_s: float = 0.05


class Timeouts(Section, frozen=True):
    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    """The longest silence inside an answer that has begun."""
    total_s: float = 900.0


class Retry(Section, frozen=True):
    attempts: int = 3
    """Attempts per call over all routes, the first one included; nothing is retried once bytes were sent."""
    base_s: float = 0.25
    cap_s: float = 8.0
    breaker_failures: int = 5
    """Consecutive failures that open a route's breaker."""
    breaker_open_s: float = 10.0


class ProviderSettings(Section, frozen=True):
    """One upstream. `key_env` or `key_file` names where the key is."""

    base_url: str
    dialect: str = "openai"
    key_env: str = ""
    key_file: str = ""
    surfaces: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    price_provider: str = ""
    max_connections: int = 512


class RouteSettings(Section, frozen=True):
    provider: str
    model: str
    weight: int = 1
    order: int = 0


class ModelSettings(Section, frozen=True):
    routes: tuple[RouteSettings, ...]


class Local(Section, frozen=True):
    """The local engine: llama.cpp in a supervised child process."""

    enabled: bool = True
    model: str = ""
    """A GGUF; empty: the default model in `.jevons/models`, when it is there."""
    alias: str = ""
    threads: int = 0
    slots: int = 4
    context_tokens: int = 4096
    """Prompt and answer of one call together; memory for so many is taken for each of the `slots`."""
    cache_ram_mib: int = 256
    usd_per_hour: str = "0.10"
    """The machine's price, booked by the seconds of a call and labelled modelled."""
    embeddings: bool = True
    """Serve /v1/embeddings as `minilm` where the extra `embed` is installed; its process starts with the first call."""


class Cache(Section, frozen=True):
    """The exact cache and coalescing. Lossless: on for calls at temperature 0 and for those that ask."""

    exact: bool = True
    ttl_s: float = 3600.0
    max_bytes: int = 64 * MIB
    max_entry_bytes: int = 1 * MIB


class Semantic(Section, frozen=True):
    """The semantic cache's worker. It acts only under a plan that allows it (levers.semantic = "lossy")."""

    enabled: bool = True
    deadline_s: float = 0.05
    """How long a look-up may hold a call up; a later answer is a miss."""
    unit: Literal["request", "hit"] = "request"
    """What a plan's floor bounds the wrong answers by: all requests, or those that would be hits."""
    keep_days: float = 30.0
    """How old an answer may be that is served."""


class Shared(Section, frozen=True):
    """What several gateways share besides the ledger: budgets, rate limits and exact answers, in Valkey or Redis."""

    url: str = ""
    """redis://[user:password@]host[:port][/number], rediss:// for TLS, or unix:///path; empty: none."""
    url_file: str = ""
    """A file that holds the URL, for one with a password."""
    timeout_s: float = 0.25
    """How long a command may take before the store counts as away, and each limit's `away` policy holds."""


class Prices(Section, frozen=True):
    overrides: str = ""
    """A TOML file of dated prices that win over the book."""


class Access(Section, frozen=True):
    """Who may call."""

    anonymous: bool = False
    """Calls without a key are served as the tenant `anonymous`: for a laptop only."""
    client_provider_keys: bool = False
    """A caller may send its own provider key in `x-jevons-provider-key`."""
    passthrough: tuple[str, ...] = ("audio", "completions", "images", "models", "moderations", "rerank")
    """Paths of a provider that /providers/NAME/... may reach with the operator's key, each with all below it; `*`: all.
    The default ones hold nothing that another tenant left there; files, batches or fine-tunes do."""


class Responses(Section, frozen=True):
    """The state of the Responses API (`previous_response_id`, GET, DELETE)."""

    keep_days: float = 30.0
    """How long a response can be continued or fetched here; OpenAI keeps them 30 days. 0: none is kept."""
    max_bytes: int = 8 * MIB
    """A response whose input or answer is larger is served, and not kept."""


class Pages(Section, frozen=True):
    enabled: bool = True


class Telemetry(Section, frozen=True):
    """Your own tracing. Nothing is sent anywhere unless an endpoint stands here."""

    otlp_endpoint: str = ""
    """OTLP over HTTP, like http://collector:4318/v1/traces. Needs the extra `otel`."""


class Settings(Section, frozen=True):
    """The whole configuration. Unset tables take their defaults."""

    server: Server = Server()
    database: Database = Database()
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    providers: dict[str, ProviderSettings] = {}
    models: dict[str, ModelSettings] = {}
    local: Local = Local()
    cache: Cache = Cache()
    semantic: Semantic = Semantic()
    shared: Shared = Shared()
    prices: Prices = Prices()
    access: Access = Access()
    responses: Responses = Responses()
    pages: Pages = Pages()
    telemetry: Telemetry = Telemetry()


ENVIRONMENT = {
    "JEVONS_HOST": ("server", "host"),
    "JEVONS_PORT": ("server", "port"),
    "JEVONS_DATABASE": ("database", "url"),
    "JEVONS_DURABILITY": ("database", "durability"),
    "JEVONS_SHARED": ("shared", "url"),
    "JEVONS_WORKERS": ("server", "workers"),
    "JEVONS_METRICS_PORT": ("server", "metrics_port"),
    "JEVONS_LOCAL_MODEL": ("local", "model"),
    "JEVONS_LOCAL_THREADS": ("local", "threads"),
}
"""Environment variables that override the file."""


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read settings. `path` None takes ./jevons.toml when it exists. `overrides` are dotted keys of the command line.

    Raises SettingsError with the key, its place and the nearest known key.
    """
    tree: dict[str, Any] = {}
    file = path or Path("jevons.toml")
    if path is not None or file.exists():
        tree = _read(file)
    for variable, (table, key) in ENVIRONMENT.items():
        if variable in environ:
            tree.setdefault(table, {})[key] = environ[variable]
    for dotted, value in (overrides or {}).items():
        if value is not None:
            table, key = dotted.split(".")
            tree.setdefault(table, {})[key] = value
    return parse(tree, str(file))


def parse(tree: dict[str, Any], origin: str) -> Settings:
    """A decoded TOML tree to settings; the pure half of `load`."""
    _refuse_unknown(tree, Settings, origin, "")
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{origin}: {error}") from None
    if settings.database.durability not in {"batched", "strict"}:
        raise SettingsError(f"{origin}: database.durability is {settings.database.durability!r}; use batched or strict")
    if settings.server.workers > 1 and settings.database.url.startswith("sqlite"):
        raise SettingsError(
            "server.workers above 1 needs Postgres, since SQLite serves one gateway process: "
            'set database.url = "postgresql://user@host/jevons"'
        )
    return settings


def shared_url(shared: Shared) -> str:
    """The URL of the shared store, from the settings or from the file that they name. Raises SettingsError."""
    if not shared.url_file:
        return shared.url
    try:
        return Path(shared.url_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"shared.url_file {shared.url_file}: {error.strerror}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; give --config a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _refuse_unknown(value: Any, kind: Any, origin: str, path: str) -> None:
    """Name the first unknown key with the nearest known one, depth first."""
    holder, args = get_origin(kind), get_args(kind)
    if holder is dict and isinstance(value, dict):
        for key, inner in value.items():
            _refuse_unknown(inner, args[1], origin, f"{path}{key}.")
    elif holder is tuple and isinstance(value, list):
        for inner in value:
            _refuse_unknown(inner, args[0], origin, path)
    elif isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, dict):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for key, inner in value.items():
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1, cutoff=0.4)
                hint = f"; did you mean {path}{near[0]}?" if near else f"; known here: {', '.join(sorted(fields))}"
                raise SettingsError(f"{origin}: unknown setting {path}{key}{hint}")
            _refuse_unknown(inner, fields[key], origin, f"{path}{key}.")
