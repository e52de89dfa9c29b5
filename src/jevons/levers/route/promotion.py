"""May a cheaper model take a call site over? One candidate's way: shadow -> canary -> full, and back down.

What it decides: the stage of a candidate, from paired outcomes alone, and what share of traffic it serves and is
checked on. Every step is a pure function of (candidate, news, terms). What it must not know: how outcomes were judged,
which bytes were sent, the clock or the dice.

Theory of operation. In SHADOW the candidate answers a share of calls beside the incumbent; nobody sees it. Each judged
pair is a bet against "worse by at least the margin" (judge/betting.py); refuted, the candidate becomes a CANARY for a
small share of tasks, and after enough further pairs without alarm it is FULL. From then on the incumbent is shadowed on
a small share instead, and an e-detector (judge/drift.py) watches for the mean falling below half the margin. An alarm,
or a row of failures, demotes: the incumbent answers, and a new trial must pass at half the level of the one before, so
that the chance of ever promoting a worse model stays below alpha over all trials.

    stage     serves          is checked on    leaves it by
    shadow    nothing         shadow_share     refuted claim -> canary; cap spent -> stopped
    canary    canary_share    canary_check     canary_pairs without alarm -> full; alarm, failures -> demoted
    full      everything      audit_share      alarm, failures -> demoted
    demoted   nothing         nothing          rest_pairs calls later -> shadow, with alpha halved
    stopped   nothing         nothing          the operator

A pin ("candidate" or "incumbent") overrides what is served, not what is measured.
"""

from enum import StrEnum

import msgspec

from jevons.judge.betting import Wealth, bet, non_inferiority, rejects
from jevons.judge.drift import Watch, see, watch


class Stage(StrEnum):
    SHADOW = "shadow"
    CANARY = "canary"
    FULL = "full"
    DEMOTED = "demoted"
    STOPPED = "stopped"


class Pin(StrEnum):
    NONE = ""
    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The plan's word on promotions. Shares are of the site's tasks; money is nano-dollars."""

    margin: float = 0.05
    """How much worse, in share of tasks solved, a candidate may be."""
    alpha: float = 0.05
    """The chance of ever promoting a candidate that is worse by the margin or more."""
    shadow_share: float = 0.1
    canary_share: float = 0.1
    canary_check: float = 1.0
    canary_pairs: int = 50
    """Pairs as a canary before it is full: they show what shadows can't, e.g. users' reactions."""
    audit_share: float = 0.05
    patience: float = 3_000.0
    """Least mean number of pairs before a false demotion of a model that is not worse than half the margin."""
    failures: int = 5
    """Failed answers in a row (refused, timed out, vanished, another format) that demote at once."""
    rest_calls: int = 2_000
    """Calls that a demoted candidate rests before a new trial."""
    trials: int = 3
    cap_nano: int = 20_000_000_000
    """What a candidate's shadows, audits and judges may burn in one trial."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One task or call answered by both. Outcomes are in [0, 1]; None: nobody could judge it."""

    new: float | None
    old: float | None
    failed: bool = False
    """The candidate gave no usable answer: it refused, timed out, vanished or changed its format."""
    cost_nano: int = 0
    """What the check burned: the shadow's answer and the judge."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of one candidate at one call site: what a store keeps."""

    site: str
    incumbent: str
    model: str
    stage: Stage
    wealth: Wealth
    guard: Watch
    pinned: Pin = Pin.NONE
    trial: int = 0
    pairs: int = 0
    """Judged pairs in this stage."""
    unjudged: int = 0
    failed_in_row: int = 0
    spent_nano: int = 0
    rested: int = 0
    since: float = 0.0
    """Unix seconds of the last change of stage."""
    reason: str = ""


def start(site: str, incumbent: str, model: str, terms: Terms, now: float) -> Candidate:
    """A new candidate, in shadow."""
    return Candidate(
        site=site,
        incumbent=incumbent,
        model=model,
        stage=Stage.SHADOW,
        wealth=non_inferiority(terms.margin),
        guard=_guard(terms),
        since=now,
        reason="started",
    )


def observe(candidate: Candidate, pair: Pair, terms: Terms, now: float) -> Candidate:
    """The candidate after one more checked call. Unjudged pairs cost money and prove nothing."""
    stage = candidate.stage
    if stage in {Stage.DEMOTED, Stage.STOPPED}:
        return candidate
    after = _count(candidate, pair)
    if after.failed_in_row >= terms.failures and stage is not Stage.SHADOW:
        return _demote(after, f"{after.failed_in_row} failures in a row", terms, now)
    new = 0.0 if pair.failed else pair.new
    if new is not None and pair.old is not None:
        after = _weigh(after, new - pair.old, terms, now)
    if after.spent_nano > terms.cap_nano and after.stage is Stage.SHADOW:
        return move(after, Stage.STOPPED, f"its shadows burned more than the cap after {after.pairs} pairs", now)
    return after


def rest(candidate: Candidate, terms: Terms, now: float) -> Candidate:
    """One more call passed by while the candidate is demoted. Rested enough, it is tried again, at half the level."""
    if candidate.stage is not Stage.DEMOTED:
        return candidate
    if candidate.rested + 1 < terms.rest_calls:
        return msgspec.structs.replace(candidate, rested=candidate.rested + 1)
    if candidate.trial + 1 >= terms.trials:
        return move(candidate, Stage.STOPPED, f"demoted in all of {terms.trials} trials", now)
    fresh = msgspec.structs.replace(
        candidate, wealth=non_inferiority(terms.margin), guard=_guard(terms), trial=candidate.trial + 1, spent_nano=0
    )
    return move(fresh, Stage.SHADOW, f"trial {fresh.trial + 1}, at level {level(fresh, terms):.3g}", now)


def move(candidate: Candidate, stage: Stage, reason: str, now: float) -> Candidate:
    """To another stage, whoever ordered it: what was counted in the last stage starts again."""
    return msgspec.structs.replace(candidate, stage=stage, reason=reason, since=now, pairs=0, failed_in_row=0, rested=0)


def pin(candidate: Candidate, where: Pin, now: float) -> Candidate:
    """The operator fixes who serves; evidence goes on being collected."""
    return msgspec.structs.replace(candidate, pinned=where, since=now, reason=f"pinned: {where or 'no'}")


def level(candidate: Candidate, terms: Terms) -> float:
    """This trial's share of alpha: a half, a quarter, ... of it, so that all trials together stay below alpha.

    The first of a single permitted trial gets all of it.
    """
    return terms.alpha if terms.trials == 1 else terms.alpha / 2 ** (candidate.trial + 1)


def serving_share(candidate: Candidate, terms: Terms) -> float:
    """The share of the site's tasks that the candidate answers now."""
    if candidate.pinned is not Pin.NONE:
        return 1.0 if candidate.pinned is Pin.CANDIDATE else 0.0
    return {Stage.CANARY: terms.canary_share, Stage.FULL: 1.0}.get(candidate.stage, 0.0)


def checked_share(candidate: Candidate, terms: Terms) -> float:
    """Of the calls that could be paired, the share that is: by the candidate in shadow, by the incumbent after it."""
    shares = {Stage.SHADOW: terms.shadow_share, Stage.CANARY: terms.canary_check, Stage.FULL: terms.audit_share}
    return shares.get(candidate.stage, 0.0)


def _count(candidate: Candidate, pair: Pair) -> Candidate:
    judged = pair.old is not None and (pair.failed or pair.new is not None)
    return msgspec.structs.replace(
        candidate,
        spent_nano=candidate.spent_nano + pair.cost_nano,
        pairs=candidate.pairs + judged,
        unjudged=candidate.unjudged + (not judged),
        failed_in_row=candidate.failed_in_row + 1 if pair.failed else 0,
    )


def _weigh(candidate: Candidate, gain: float, terms: Terms, now: float) -> Candidate:
    """A judged difference: evidence for promotion in shadow, for demotion after it."""
    if candidate.stage is Stage.SHADOW:
        wealth = bet(candidate.wealth, gain)
        after = msgspec.structs.replace(candidate, wealth=wealth)
        if rejects(wealth, level(candidate, terms)):
            why = f"not worse by {terms.margin:.0%} after {wealth.n} pairs (p <= {wealth.p:.2g})"
            return move(after, Stage.CANARY, why, now)
        return after
    guard = see(candidate.guard, gain)
    after = msgspec.structs.replace(candidate, guard=guard)
    if guard.alarmed:
        return _demote(after, f"its outcomes fell behind by more than {-guard.floor:.1%}", terms, now)
    if candidate.stage is Stage.CANARY and after.pairs >= terms.canary_pairs:
        return move(after, Stage.FULL, f"{after.pairs} pairs as a canary without alarm", now)
    return after


def _demote(candidate: Candidate, reason: str, terms: Terms, now: float) -> Candidate:
    return move(msgspec.structs.replace(candidate, guard=_guard(terms)), Stage.DEMOTED, reason, now)


def _guard(terms: Terms) -> Watch:
    return watch(floor=-terms.margin / 2, high=1.0, patience=terms.patience)
