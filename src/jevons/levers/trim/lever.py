"""The trim lever: looks at a conversation and offers edits that carry fewer tokens.

What lives here: the two offers (what is already rewritten plus this call's fresh results; the same plus a block
removal), the book of sessions, and what is written down after a reply. Deciding what pays is `block`'s, proving that
nothing else changed is `check`'s. On any doubt nothing is offered and the reason is counted.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import msgspec

from jevons.core.ask import Answer, Ask, Change
from jevons.core.call import Call, Surface
from jevons.core.prompt import Prompt, Text
from jevons.levers.lever import Edit, Effect, Offer, Outcome, Risk, View
from jevons.levers.trim import recall
from jevons.levers.trim.block import STUB_TOKENS, Block, choose
from jevons.levers.trim.check import apply, doubt, editable
from jevons.levers.trim.need import Need
from jevons.levers.trim.rates import Rates
from jevons.levers.trim.session import MAX_TURNS, Item, Record, Session, answers, extend, hashes, rebuild

NAME = "trim"
EDITABLE = (Surface.CHAT, Surface.MESSAGES)
"""Surfaces whose messages the wire room can edit in place; the items of a Responses input share turns."""
MAX_SESSIONS = 256
MAX_SITES = 1_024


class _Pending(msgspec.Struct):
    """What was offered for one operation, until its outcome is known."""

    session: Session
    key: str
    site: str
    prompt: Prompt
    turns: int
    estimated: float
    chosen: Block | None = None


class TrimLever:
    """See the module's first lines. `decode` gives a call's neutral prompt, or None when it is not a conversation;
    `rates` the relative prices of the call's model. Without `recall` nothing is folded or removed."""

    name = NAME
    risk = Risk.LOSSY

    def __init__(
        self,
        decode: Callable[[Call], Prompt | None],
        rates: Callable[[Call, View], Rates],
        *,
        recall: bool = True,
    ):
        self._decode = decode
        self._rates = rates
        self._recall = recall
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._needs: OrderedDict[str, Need] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        """At most two offers: EQUIVALENT (or LOSSY, once something was removed), and LOSSY with one more block."""
        yield from ()
        return self._offers(call, view)

    def _offers(self, call: Call, view: View) -> Sequence[Offer]:
        allowed = view.allowed.get(NAME, Risk.EXACT)
        if allowed < Risk.EQUIVALENT or call.surface not in EDITABLE:
            return ()
        prompt = self._decode(call)
        if prompt is None or not prompt.turns or len(prompt.turns) > MAX_TURNS:
            return ()
        lossy = allowed >= Risk.LOSSY and self._recall
        numbers = hashes(prompt)
        key = session_key(call, prompt)
        need = self._need(call.site, _memory(view))
        session = self._extended(key, prompt, numbers, need, view)
        edits = _edits(session)
        pending = _Pending(session, key, call.site, prompt, len(numbers), sum(session.sent))
        view.notes[NAME] = pending
        offers = [self._first(session, edits)] if edits else []
        if lossy:
            rates = self._rates(call, view)
            chosen = choose(session, need, rates, view.now, _overhead(session))
            if chosen is not None:
                pending.chosen = chosen
                offers.append(self._second(session, edits, chosen))
        session.last_at = view.now
        return tuple(offer for offer in offers if self._sound(prompt, offer))

    def learn(self, outcome: Outcome) -> Sequence[Change]:
        """Book what was sent. Changes: 'session:KEY' -> Record, 'need:SITE' -> Need, 'recall:ID' -> text."""
        pending = outcome.notes.get(NAME)
        if not isinstance(pending, _Pending):
            return ()
        session = pending.session
        chosen = next((offer for offer in outcome.chosen if offer.lever == NAME), None)
        if outcome.usage is None:
            return ()
        changes: list[Change] = []
        for item in session.items:
            if not item.proposed or item.turn >= pending.turns:
                continue
            if chosen is None:
                session.keep(item)
                continue
            item.proposed = False
            if item.folded:
                changes.append(_kept(outcome.call, pending.prompt, item))
        if chosen is not None and pending.chosen is not None and _takes(chosen, session, pending.chosen):
            for number in pending.chosen.items:
                item = session.items[number]
                changes.append(_kept(outcome.call, pending.prompt, item))
                session.remove(item, _stub(item), STUB_TOKENS, pending.turns)
            self._needs[pending.site].expected += pending.chosen.recalls
        session.cached_turns = pending.turns
        session.scale.see(outcome.usage.prompt, pending.estimated)
        changes.append(Change(NAME, f"session:{pending.key}", session.record))
        changes.append(Change(NAME, f"need:{pending.site}", self._needs.get(pending.site)))
        return changes

    def _first(self, session: Session, edits: tuple[Edit, ...]) -> Offer:
        saved = session.scale.factor * sum(item.original - item.sent for item in session.items)
        removed = any(item.removed for item in session.items)
        fresh = sum(item.proposed for item in session.items)
        return Offer(
            lever=NAME,
            risk=Risk.LOSSY if removed else Risk.EQUIVALENT,
            effect=Effect(edits=edits, removed_tokens=round(saved)),
            why=f"{len(edits)} results rewritten, {fresh} of them new: {saved:.0f} tokens fewer a call",
        )

    def _second(self, session: Session, edits: tuple[Edit, ...], chosen: Block) -> Offer:
        stubs = {(item.turn, item.part): _stub(item) for item in (session.items[at] for at in chosen.items)}
        merged = [edit for edit in edits if (edit.turn, edit.part) not in stubs]
        merged += [Edit(turn, part, text) for (turn, part), text in stubs.items()]
        saved = session.scale.factor * sum(item.original - item.sent for item in session.items) + chosen.removed
        first = min(session.items[at].turn for at in chosen.items)
        behind = max(0.0, session.scale.factor * sum(session.sent[first:]) - chosen.removed)
        when = "the cache has expired" if chosen.expired else f"{chosen.retained:.0f} tokens written again"
        return Offer(
            lever=NAME,
            risk=Risk.LOSSY,
            loss=min(1.0, chosen.recalls),
            effect=Effect(
                edits=tuple(sorted(merged, key=lambda edit: (edit.turn, edit.part))),
                removed_tokens=round(saved),
                retained_tokens=round(behind),
            ),
            why=(
                f"{len(chosen.items)} results left out, {chosen.removed:.0f} tokens, {when}, "
                f"{chosen.later_calls:.0f} calls to come: {chosen.gain:.0f} input tokens won, "
                f"{chosen.recalls:.2f} recalls expected"
            ),
        )

    def _sound(self, prompt: Prompt, offer: Offer) -> bool:
        try:
            reason = doubt(prompt, apply(prompt, offer.effect.edits), offer.effect.edits)
        except ValueError:
            reason = "edit"
        if reason:
            self.counts[f"untouched:{reason}"] += 1
        return not reason

    def _extended(self, key: str, prompt: Prompt, numbers: list[int], need: Need, view: View) -> Session:
        """The session with this call's turns. One that is not known here is rebuilt from its record, or adopted."""
        session = self._sessions.get(key)
        if session is None:
            known = _memory(view).get(f"session:{key}")
            before = answers(prompt)
            if known is not None:
                self.counts["rebuilt"] += 1
                session = rebuild(prompt, numbers, msgspec.convert(known, Record), recall=self._recall)
            else:
                self.counts["adopted" if before else "new"] += 1
                session = Session(untouched=set(range(before)), cached_turns=before, last_at=view.now)
                extend(session, prompt, numbers, need, recall=self._recall)
            self._sessions[key] = session
        else:
            common = session.common(numbers)
            if common < len(session.seen):
                self.counts["rewound"] += 1
                session.rewind(common, prompt)
            extend(session, prompt, numbers, need, recall=self._recall)
        self._sessions.move_to_end(key)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _need(self, site: str, memory: Mapping[str, Any]) -> Need:
        need = self._needs.get(site)
        if need is None:
            known = memory.get(f"need:{site}")
            need = Need() if known is None else msgspec.convert(known, Need)
        self._needs[site] = need
        self._needs.move_to_end(site)
        if len(self._needs) > MAX_SITES:
            self._needs.popitem(last=False)
        return need


def session_key(call: Call, prompt: Prompt) -> str:
    """Which conversation this is: the tenant, the task, and everything up to the first user turn."""
    digest = hashlib.blake2b(call.caller.tenant.encode(), digest_size=12)
    digest.update((call.task.task if call.task else "").encode())
    for turn in prompt.turns:
        for part in turn.parts:
            if isinstance(part, Text):
                digest.update(part.text.encode("utf-8", "surrogatepass"))
        if turn.role == "user":
            break
    return digest.hexdigest()


def recall_key(tenant: str, name: str) -> str:
    """Under which a left-out text is kept: ids are only unique within a tenant."""
    return f"recall:{tenant}/{name}"


def _memory(view: View) -> Mapping[str, Any]:
    memory: Mapping[str, Any] = view.memory.get(NAME) or {}
    return memory


def _edits(session: Session) -> tuple[Edit, ...]:
    return tuple(Edit(item.turn, item.part, item.text) for item in session.items if item.text is not None)


def _stub(item: Item) -> str:
    return recall.stub(item.label, item.lines, item.name)


def _takes(chosen: Offer, session: Session, wanted: Block) -> bool:
    """Whether the chosen offer is the one with the block."""
    item = session.items[wanted.items[0]]
    return Edit(item.turn, item.part, _stub(item)) in chosen.effect.edits


def _kept(call: Call, prompt: Prompt, item: Item) -> Change:
    text = editable(prompt.turns[item.turn].parts[item.part]) or ""
    return Change(NAME, recall_key(call.caller.tenant, item.name), text)


def _overhead(session: Session) -> float:
    """Tokens before the turns (tools, what the format adds), from the first reported prompt."""
    scale = session.scale
    return max(0.0, scale.first_reported - scale.factor * scale.first_estimated)
