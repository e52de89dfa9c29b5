"""A stream on its way from an upstream to the caller: followed, translated where dialects differ, kept if wanted.

What lives here: what happens to each piece and how a stream ends. A stream that was cut ends with an error event in
the caller's dialect and never with a made-up stop. What it must not know: sockets; it is fed and asked.
"""

from jevons.core.ask import Relay, Relayed
from jevons.core.errors import UpstreamError, UpstreamTimeout
from jevons.wire.cacheable import collect_stream
from jevons.wire.errors import error_event
from jevons.wire.follow import Follower
from jevons.wire.translate import Translator


class Pump:
    """One stream. `feed` every piece, then `finish` once."""

    __slots__ = ("_follower", "_kept", "_kept_room", "_surface", "_translator", "first_byte_s")

    def __init__(self, relay: Relay, surface: str, collect_bytes: int):
        self._surface = surface
        self._follower = Follower(relay.source, strip_usage=relay.strip_usage)
        self._translator: Translator | None = None
        if relay.source != surface:
            self._translator = Translator(
                relay.source,
                surface,
                relay.public_model,
                include_usage=relay.include_usage,
                created=int(relay.created),
            )
        self._kept: list[bytes] | None = [] if relay.collect else None
        self._kept_room = collect_bytes
        self.first_byte_s: float | None = None

    def feed(self, piece: bytes) -> bytes:
        """The bytes to send on; often the very same object."""
        out = self._follower.feed(piece)
        if self._translator is not None:
            out = self._translator.feed(out)
            self._keep(out)
        else:
            self._keep(piece)  # with the usage chunk that this caller did not ask for
        return out

    def finish(self, error: str, seconds: float) -> tuple[bytes, Relayed]:
        """What is left to send, and what the stream turned out to be. `error`: why it was cut, when that is known."""
        tail = self._follower.flush()
        if self._translator is not None:
            tail = self._translator.feed(tail)
            self._keep(tail)
        relayed = self.relayed(error, seconds)
        if relayed.error and relayed.error != "failed":
            cause = UpstreamTimeout if relayed.error == "timeout" else UpstreamError
            tail += error_event(self._surface, cause("the upstream's stream broke off before its end"))
        return tail, relayed

    def relayed(self, error: str, seconds: float) -> Relayed:
        """What is known so far."""
        facts = self._follower.finish()
        if not error:
            error = "failed" if facts.failed else "" if facts.done else "cut"
        whole = b""
        if self._kept and not error:
            whole = collect_stream(self._surface, self._kept)
        return Relayed(
            usage=facts.usage,
            tier=facts.tier,
            cost_usd=facts.cost_usd,
            done=facts.done,
            error=error,
            output_chars=facts.output_chars,
            whole=whole,
            first_byte_s=self.first_byte_s,
            duration_s=seconds,
        )

    def _keep(self, out: bytes) -> None:
        if self._kept is None or not out:
            return
        self._kept_room -= len(out)
        if self._kept_room < 0:
            self._kept = None  # too large to be worth keeping
        else:
            self._kept.append(out)
