"""What became of a call: the attempts it took, priced as they end, and the one operation that they make.

What lives here: the bookkeeping of one call in flight. What it must not know: who sends, and in which order.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from jevons.core.ask import Relayed, Sent, Stored
from jevons.core.call import Call
from jevons.core.money import ZERO, Nano
from jevons.core.route import Route
from jevons.core.usage import NOTHING, Usage
from jevons.governor import Decision
from jevons.ledger.operation import Attempt, Operation, cost_of, usage_of
from jevons.levers.lever import View
from jevons.pipeline.baseline import TermsOf, baseline
from jevons.plans.budget import Claim
from jevons.prices.cost import Priced

BYTES_PER_TOKEN = 4
"""For what no provider reported: English text and JSON are about four bytes a token in every current tokenizer."""


Price = Callable[[Route, Usage, str, float | None, float, float], Priced]
"""(route, usage, tier that the provider used, cost in dollars that it reported, unix seconds, seconds it took)."""

FREE = Priced(ZERO, "free")


class Course:
    """Collects the attempts of one call. Mutable, and owned by one running pipeline."""

    def __init__(self, call: Call, view: View, price: Price, terms: TermsOf):
        self.call = call
        self.attempts: list[Attempt] = []
        self.cache = ""
        self.error = ""
        self.cancelled = False
        self.booked = False
        self.claimed: tuple[Claim, ...] = ()
        self.notices: tuple[tuple[str, str], ...] = ()
        self._view, self._price, self._terms = view, price, terms
        self._decision: Decision | None = None
        self._stored: Stored | None = None

    def decided(self, decision: Decision) -> None:
        """What the governor chose and weighed: for the baseline and for `jevons explain`."""
        self._decision = decision

    @property
    def usage(self) -> Usage:
        return usage_of(self.attempts)

    @property
    def cost_nano(self) -> Nano | None:
        return cost_of(self.attempts)

    def record(self, sent: Sent, role: str = "answer") -> None:
        """An attempt that ended before anything flowed: a whole answer, or a failure."""
        usage, source = sent.usage, "reported"
        if usage is None:
            usage, source = self._unreported(sent)
        self._add(sent, role, usage, source, sent.tier, sent.cost_usd, sent.duration_s, None)

    def record_stream(self, sent: Sent, relayed: Relayed, role: str = "answer") -> None:
        """An attempt whose stream has ended, by itself or not. What was not reported is estimated from what flowed."""
        usage, source = relayed.usage, "reported"
        if usage is None or (not relayed.done and not usage.output):
            usage, source = self._estimate(relayed.output_chars, usage), "estimated"
        seconds = relayed.duration_s or sent.duration_s
        self._add(sent, role, usage, source, relayed.tier, relayed.cost_usd, seconds, relayed.first_byte_s)

    def record_gone(self, route: Route, seconds: float) -> None:
        """The caller left while an answer was being made, before its first byte: the prompt was burned all the same."""
        sent = Sent(route=route, status=0, error="cancelled", duration_s=seconds)
        self._add(sent, "answer", self._estimate(0, None), "estimated", "", None, seconds, None)

    def operation(self, status: int, finished: float, served: str = "") -> Operation:
        """The row, once nothing more can happen."""
        call, task, cost = self.call, self.call.task, self.cost_nano
        counted = baseline(
            call, self.attempts, cost, self._decision, self._view, self._stored, self._price, self._terms
        )
        return Operation(
            operation=call.operation,
            tenant=call.caller.tenant,
            key_id=call.caller.key_id,
            customer=call.caller.customer,
            plan=call.caller.plan or (self._view.plan.name if self._view.plan else ""),
            task=task.task if task else "",
            task_source=task.source if task else "none",
            parent=task.parent if task else "",
            task_name=task.name if task else "",
            site=call.site,
            surface=call.surface.value,
            model=call.peek.model,
            served_model=served or (self.attempts[-1].model if self.attempts else ""),
            status=status,
            error=self.error,
            started=call.at,
            duration_s=max(0.0, finished - call.at),
            stream=call.peek.stream,
            cancelled=self.cancelled,
            cache=self.cache,
            arm=self._decision.arm if self._decision else "",
            attempts=tuple(self.attempts),
            baseline_nano=counted.baseline,
            levers=self._explained(counted.lines),
        )

    def _explained(self, lines: dict[str, int]) -> dict[str, Any] | None:
        """What was weighed (expected, of this call and further ones) and beside it what this call's parts came to."""
        explained = self._decision.explained if self._decision else None
        return {**(explained or {}), "waterfall": lines} if lines else explained

    def served(self, stored: Stored, how: str) -> None:
        """An answer that was at hand: nothing burned, and the attempt says whose answer it is."""
        self.cache, self._stored = how, stored
        self.attempts.append(
            Attempt(
                provider="cache",
                model=stored.model,
                status=stored.status,
                started=self.call.at,
                usage_source="none",
                cost_nano=ZERO,
                cost_source="cache",
            )
        )

    def _unreported(self, sent: Sent) -> tuple[Usage, str]:
        if sent.error in {"connect", "open"} or sent.status >= 400:
            return NOTHING, "none"  # an upstream bills no error and nothing that it never saw
        return self._estimate(len(sent.body), None), "estimated"

    def _estimate(self, output_bytes: int, known: Usage | None) -> Usage:
        output = -(-output_bytes // BYTES_PER_TOKEN)
        if known is not None:
            return msgspec.structs.replace(known, output=max(known.output, output))
        return Usage(input=-(-len(self.call.body) // BYTES_PER_TOKEN), output=output)

    def _add(
        self,
        sent: Sent,
        role: str,
        usage: Usage,
        source: str,
        tier: str,
        cost_usd: float | None,
        seconds: float,
        first_byte_s: float | None,
    ) -> None:
        route, priced = sent.route, FREE
        if usage != NOTHING or source == "reported":
            priced = self._price(route, usage, tier, cost_usd, self.call.at, seconds)
        self.attempts.append(
            Attempt(
                provider=route.provider.name,
                model=route.upstream_model,
                role=role,
                status=sent.status,
                error=sent.error,
                started=self.call.at,
                duration_s=seconds,
                first_byte_s=first_byte_s,
                usage=usage,
                usage_source=source,
                tier=tier,
                cost_nano=priced.nano,
                cost_source=priced.source,
                price_version=priced.version,
                rates=priced.rates,
            )
        )
