"""When an answer at hand may be served: the threshold on its risk, and whether the bound leaves room at all.

Two questions, kept apart. *May* we serve: answered by audits alone (bound.py), so it holds whatever the verifier
believes. *Where* is the threshold: answered by the verifier's own risks, corrected by how they fared, so a bad verifier
costs hits, never the bound. Per request: wrong served answers <= level x requests. Per hit: wrong answers <= level x
would-be hits (those counted while closed or audited are known); and since the first served hits have no such
past, the sum of their predicted risks must also fit a Poisson count of level x hits served. A repeat of the very same
text is a hit; it adds to the count but never to the threshold.

What it must not know: texts, vectors, the clock, or where its dice come from.
"""

import math
from collections import deque
from typing import Any, Final, Literal

import msgspec

from jevons.core.errors import CallerError
from jevons.levers.cache.semantic.bound import RHOS, Coin, poisson_mean

Unit = Literal["request", "hit"]
Verdict = Literal["miss", "shadow", "hit"]
"""`shadow`: it would be a hit, but the bound leaves no room: a miss whose label is free."""

ALPHA: Final = 0.05
"""The bound holds at all times together with probability 1 - ALPHA."""
OPENS_AFTER: Final[dict[Unit, int]] = {"request": 1000, "hit": 300}
"""Requests, or would-be hits, after which a flawless record opens the gate: this sets the first coin's bias. Opening
sooner means auditing more for ever after; 1,000 at a level of 1% means a share of .36."""
LEAST_SHARE: Final = 0.2
"""Of the first coin: with less, the bound on 100 served wrong answers is more than twice the truth, and the budget of a
looser level would be lost to that."""
EPOCH: Final = 32
"""When the count has grown by this factor a new coin with a smaller bias starts: audits fade as the record grows."""
LATER_PART: Final = 0.25
"""Part of the budget at its start that a later coin's own constant may take."""
FIRST_ALPHA: Final = 0.8
"""Share of ALPHA for the first coin; each later one gets this share of what is left."""
FILL: Final = 0.8
"""Part of the budget aimed at: the rest absorbs chance, so that the gate seldom has to close."""
WINDOW: Final = 1000
"""Recent requests whose risks set the threshold."""
EVERY: Final = 20
"""Requests between two looks at the threshold."""
MAX_RISK: Final = 0.5
"""An answer that is more probably wrong than right is never served, whatever the budget."""
CROSSING: Final = 0.02
"""Per hit: the chance allowed for the served record to pass the level at any one count."""
MEMORY: Final = 0.999
"""Each label weighs this much less in the correction than the next one."""


class Policy(msgspec.Struct, frozen=True):
    """The plan's word: at most `level` wrong answers per `unit`."""

    level: float
    unit: Unit = "request"

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 0.5:
            raise CallerError(f"semantic cache: the error level must lie between 0 and 0.5, not {self.level}")


class Gate:
    """Counters and a threshold. `weigh` once a request; `labelled` when a would-be hit's truth is known."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.requests = 0
        self.would_be = 0
        self.served = 0
        self.audits = 0
        self.known_wrong = 0
        """Wrong would-be hits that were seen: while closed, and by audits."""
        self.threshold = 0.0
        self._coins: list[Coin] = []
        self._wrong: list[int] = []
        self._risk_served = 0.0
        self._predicted = self._observed = 1.0
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._next_coin()

    @property
    def audit_share(self) -> float:
        """The coin's bias now."""
        return self._coins[-1].q

    @property
    def served_wrong(self) -> int:
        """At most so many wrong answers were served, with probability 1 - ALPHA at all times."""
        return sum(coin.served_wrong(wrong) for coin, wrong in zip(self._coins, self._wrong, strict=True))

    @property
    def correction(self) -> float:
        """Wrong answers seen per wrong answer predicted, among labelled would-be hits."""
        return self._observed / self._predicted

    @property
    def open(self) -> bool:
        return self._spent <= self.policy.level * self._count

    def weigh(self, risk: float) -> Verdict:
        """One request whose best candidate is wrong with probability `risk` (1.0: there is none)."""
        self.requests += 1
        self._recent.append(risk)
        if self.requests % EVERY == 1:
            self._aim()
        if risk > self.threshold:
            return "miss"
        self.would_be += 1
        if self._count >= OPENS_AFTER[self.policy.unit] * EPOCH ** len(self._coins):
            self._next_coin()
        return "hit" if self.open and self._fits(risk) else "shadow"

    def repeated(self) -> None:
        """One request whose very text has an answer here: served, a hit that can't be wrong by likeness."""
        self.requests += 1
        self.would_be += 1
        self.served += 1

    def serve(self, risk: float) -> None:
        """The coin said: serve."""
        self.served += 1
        self._risk_served += risk * self.correction

    def unserve(self, risk: float) -> None:
        """A served answer was not taken."""
        self.served -= 1
        self._risk_served = max(0.0, self._risk_served - risk * self.correction)

    def labelled(self, risk: float, wrong: bool, *, audited: bool) -> None:
        """The truth about a would-be hit that was a miss after all: `audited` by the coin, or in a closed gate."""
        weight = 1.0 / self.audit_share if audited else 1.0
        self._predicted = 1.0 + MEMORY * (self._predicted - 1.0) + weight * risk
        self._observed = 1.0 + MEMORY * (self._observed - 1.0) + weight * wrong
        self.audits += audited
        self.known_wrong += wrong
        if audited and wrong:
            self._wrong[-1] += 1

    def told_wrong(self) -> None:
        """Feedback on a served answer. The bound covered it; the correction learns from it."""
        self._observed += 1.0

    @property
    def _count(self) -> int:
        return self.requests if self.policy.unit == "request" else self.would_be

    @property
    def _spent(self) -> float:
        return self.served_wrong + (self.known_wrong if self.policy.unit == "hit" else 0)

    def _fits(self, risk: float) -> bool:
        """Per hit only: the served record's predicted risk fits the count of errors that its length allows, and no
        hit takes more than its share of what is left until one more is allowed: else the first hits take all of it.
        """
        if self.policy.unit == "request":
            return True
        allowed = math.floor(self.policy.level * (self.served + 1))
        hits_until_next = max(1.0, (allowed + 1) / self.policy.level - self.served)
        room = poisson_mean(allowed, CROSSING) - self._risk_served
        return risk * self.correction <= room / hits_until_next

    def _aim(self) -> None:
        """The largest threshold whose expected wrong answers use the budget up by the time the count has doubled."""
        coin, wrong = self._coins[-1], self._wrong[-1]
        dearer = coin.served_wrong(wrong + 1) - coin.served_wrong(wrong)
        per_wrong = coin.q * (dearer + (self.policy.unit == "hit"))
        count = max(OPENS_AFTER[self.policy.unit], self._count)
        pace = max(0.0, 2.0 * FILL * self.policy.level - self._spent / count) / per_wrong
        if self.policy.unit == "hit":  # repeats of the same text must not pay for bolder guesses
            pace = min(pace, FILL * self.policy.level)
        target = pace / self.correction
        total, risks = 0.0, sorted(self._recent)
        size = len(risks)
        self.threshold = 0.0
        for at, risk in enumerate(risks, start=1):
            total += risk
            if risk > MAX_RISK or total > target * (size if self.policy.unit == "request" else at):
                break
            self.threshold = risk

    def _next_coin(self) -> None:
        epoch = len(self._coins)
        alpha = ALPHA * FIRST_ALPHA * (1.0 - FIRST_ALPHA) ** epoch
        budget = self.policy.level * OPENS_AFTER[self.policy.unit] * EPOCH**epoch * (LATER_PART if epoch else 1.0)
        q = max(LEAST_SHARE / EPOCH**epoch, 1.0 - math.exp(-math.log(len(RHOS) / alpha) / budget))
        self._coins.append(Coin(q, alpha))
        self._wrong.append(0)

    def dump(self) -> dict[str, Any]:
        """Plain values to persist."""
        return {
            "counts": [self.requests, self.would_be, self.served, self.audits, self.known_wrong],
            "wrong": list(self._wrong),
            "threshold": self.threshold,
            "learned": [self._risk_served, self._predicted, self._observed],
            "recent": list(self._recent),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `dump`, for a gate of the same policy."""
        self.requests, self.would_be, self.served, self.audits, self.known_wrong = state["counts"]
        self.threshold = state["threshold"]
        self._risk_served, self._predicted, self._observed = state["learned"]
        self._recent.extend(state["recent"])
        while len(self._coins) < len(state["wrong"]):
            self._next_coin()
        self._wrong = list(state["wrong"])
