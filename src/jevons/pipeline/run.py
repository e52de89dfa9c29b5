"""THE map: one call from start to end. Levers offer, the governor picks, tokens burn, the answer leaves, all is booked.

A pure generator: it yields asks (core/ask.py) and is sent their answers. It must not know sockets, stores or clocks;
the same lines run live in the gateway and in replay. A caller who leaves is news that the driver throws in (`Gone`).
"""

from collections.abc import Callable, Generator, Iterator, Sequence

import msgspec

from jevons.core.ask import Answer, Ask, Book, Gone, Pause, Relay, Relayed, Sent, Stored
from jevons.core.call import Call
from jevons.core.errors import JevonsError, UpstreamError, UpstreamTimeout
from jevons.governor import Decision
from jevons.levers.lever import Lever, Offer, Outcome, View
from jevons.pipeline.admit import admit, settle
from jevons.pipeline.baseline import TermsOf
from jevons.pipeline.count import estimate, uncounted
from jevons.pipeline.course import Course, Price
from jevons.pipeline.ladder import climb, send
from jevons.pipeline.retry import LONGEST_RETRY_AFTER_S, RetryPolicy, delays, may_retry, order
from jevons.pipeline.shape import Shaped, shape
from jevons.wire.cacheable import replay_stream
from jevons.wire.errors import error_body
from jevons.wire.translate import translate_error, translate_reply

PASSED_ON = frozenset({"retry-after", "retry-after-ms", "request-id", "x-request-id", "openai-processing-ms"})
"""Answer headers of a provider that reach the caller, with all that begin with one of PASSED_PREFIXES."""
PASSED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
CLIENT_CLOSED = 499
"""What the ledger says of a call whose caller left (nginx's word for it)."""
JSON, SSE = "application/json", "text/event-stream"


class House(msgspec.Struct, frozen=True):
    """What a running pipeline is given: its levers, its judgement, its prices, its patience, its clock and dice."""

    levers: tuple[Lever, ...]
    choose: Callable[[Call, View, Sequence[Offer]], Decision]
    price: Price
    retry: RetryPolicy
    clock: Callable[[], float]
    dice: Iterator[float]
    terms: TermsOf = lambda _route, _at: None
    """How a provider caches, for what would have run."""


def run(call: Call, view: View, house: House) -> Generator[Ask, Answer, None]:
    """One call, from offers to booking."""
    course = Course(call, view, house.price, house.terms)
    decision, kept = Decision(), None
    try:
        try:
            course.claimed = yield from admit(call, view, course, house.price)
            offers = yield from consider(call, view, house)
            decision = house.choose(call, view, offers)
            course.decided(decision)
            if uncounted(call, view.routes[0]):
                yield from book(200, course, house)
                yield from estimate(call, ours(course))
            elif decision.effect.reply is not None:
                yield from serve(decision.effect.reply, view, course, house)
            else:
                sent, shaped = yield from burn(call, view, decision, course, house)
                kept = yield from deliver(sent, shaped, view, course, house)
        except JevonsError as error:
            yield from refuse(error, course, house)
    except Gone:
        course.cancelled = True
        if not course.booked:
            yield from book(CLIENT_CLOSED, course, house)
    yield from remember(decision, kept, view, course, house)


def consider(call: Call, view: View, house: House) -> Generator[Ask, Answer, list[Offer]]:
    """Every lever that the plan allows looks at the call. One that has the answer at hand ends the round."""
    offers: list[Offer] = []
    for lever in house.levers:
        if lever.name in view.allowed:
            found = yield from lever.offer(call, view)
            offers.extend(found)
            if any(offer.effect.reply is not None for offer in found):
                break
    return offers


def burn(
    call: Call, view: View, decision: Decision, course: Course, house: House
) -> Generator[Ask, Answer, tuple[Sent, Shaped]]:
    """A cheaper model's answer where one stands, else attempts over the routes until one answers or none is left.

    Raises JevonsError when nothing answered at all.
    """
    effect = decision.effect
    if effect.ladder or effect.route is not None:
        found = yield from climb(call, view, effect, course, house.clock)
        if found is not None:
            return found
    routes = order(view.routes, next(house.dice))
    waits = delays(house.retry, house.dice)
    last: tuple[Sent, Shaped] | None = None
    tries = max(house.retry.attempts, len(routes))
    for attempt in range(tries):
        if last is not None and attempt % len(routes) == 0:  # all routes had their turn: wait before the next round
            wait = max(next(waits), last[0].retry_after_s or 0.0)
            if wait > LONGEST_RETRY_AFTER_S:
                break
            yield Pause(wait)
        route = routes[attempt % len(routes)]
        shaped = shape(call, effect, route)
        sent = yield from send(call, route, shaped, effect.tier, course, house.clock)
        if sent.error != "open" or last is None:
            last = (sent, shaped)
        if sent.handle is not None:
            return sent, shaped
        if sent.error != "open":
            course.record(sent)
        if not sent.error and sent.status < 400:
            return sent, shaped
        if not may_retry(sent, elsewhere=len(routes) > 1):
            break
    assert last is not None, "there is at least one route"  # noqa: S101 - an empty route list is refused before
    if last[0].error:
        raise failure(last[0])
    return last


def deliver(
    sent: Sent, shaped: Shaped, view: View, course: Course, house: House
) -> Generator[Ask, Answer, Stored | None]:
    """The answer to the caller, in the caller's dialect. Returns it whole when a lever wants to keep it."""
    call = course.call
    headers = _passed(sent.headers)
    if shaped.warnings:
        headers += (("x-jevons-warnings", "; ".join(shaped.warnings)),)
    if sent.status < 300 and all(sent.route.name != route.name for route in view.routes):
        headers += (("x-jevons-model", sent.route.upstream_model),)
    if sent.handle is not None:
        return (yield from _deliver_stream(sent, shaped, headers, view, course, house))
    body = sent.body
    if shaped.dialect != call.surface:
        surface = call.surface.value
        if sent.status < 400:
            body = translate_reply(shaped.dialect, surface, body, call.peek.model, int(call.at))
        else:
            body = translate_error(surface, body)
    course.cache = view.cache
    yield from book(sent.status, course, house)
    out, content_type = body, sent.content_type
    if shaped.held:
        out, content_type = replay_stream(call.surface.value, body, include_usage=call.peek.include_usage), SSE
    yield Relay(status=sent.status, body=out, content_type=content_type, headers=headers + ours(course))
    if not view.collect or sent.status >= 300:
        return None
    return _stored(body, sent.status, course, house)


def _deliver_stream(
    sent: Sent,
    shaped: Shaped,
    headers: tuple[tuple[str, str], ...],
    view: View,
    course: Course,
    house: House,
) -> Generator[Ask, Answer, Stored | None]:
    call = course.call
    course.cache = view.cache
    try:
        relayed: Relayed = yield Relay(
            status=sent.status,
            content_type=SSE,
            headers=headers + ours(course),
            sent=sent,
            source=shaped.dialect,
            strip_usage=shaped.strip_usage,
            include_usage=call.peek.include_usage,
            collect=view.collect,
            public_model=call.peek.model,
            created=call.at,
        )
    except Gone as gone:
        course.record_stream(sent, gone.so_far)
        raise
    course.record_stream(sent, relayed)
    course.error = relayed.error
    yield from book(sent.status, course, house)
    return _stored(relayed.whole, sent.status, course, house) if relayed.whole and not relayed.error else None


def serve(stored: Stored, view: View, course: Course, house: House) -> Generator[Ask, Answer, None]:
    """An answer that was at hand: whole, or as a stream when the caller asked for one."""
    call = course.call
    course.served(stored, view.cache or "hit")
    yield from book(stored.status, course, house)
    body, content_type = stored.body, stored.content_type
    if call.peek.stream:
        body = replay_stream(call.surface.value, body, include_usage=call.peek.include_usage)
        content_type = SSE
    yield Relay(status=stored.status, body=body, content_type=content_type, headers=ours(course))


def refuse(error: JevonsError, course: Course, house: House) -> Generator[Ask, Answer, None]:
    """An error in the caller's own dialect, booked like every other end."""
    course.error = error.code
    yield from book(error.status, course, house)
    headers = (*ours(course), ("x-jevons-error", error.code))
    if error.retry_after_s is not None:
        headers += (("retry-after", f"{error.retry_after_s:.0f}"),)
    yield Relay(status=error.status, body=error_body(course.call.surface.value, error), headers=headers)


def book(status: int, course: Course, house: House) -> Generator[Ask, Answer, None]:
    course.booked = True
    yield from settle(course.claimed, course)
    yield Book(course.operation(status, house.clock()))


def remember(
    decision: Decision, kept: Stored | None, view: View, course: Course, house: House
) -> Generator[Ask, Answer, None]:
    """Every lever learns from what became of the call: memory to write, answers to keep, shadows to run."""
    outcome = Outcome(
        call=course.call,
        chosen=decision.chosen,
        usage=course.usage,
        cost_nano=course.cost_nano,
        reply=kept,
        seconds=max(0.0, house.clock() - course.call.at),
        notes=view.notes,
    )
    for lever in house.levers:
        yield from lever.learn(outcome)


def failure(sent: Sent) -> JevonsError:
    """Nothing answered: what the caller is told. The upstream's address is not the caller's business."""
    name = sent.route.provider.name
    if sent.error == "open":
        message = f"{name} keeps failing and rests for a moment; try again"
        return UpstreamError(message, code="upstream_resting", status=503, retry_after_s=sent.retry_after_s or 1.0)
    if sent.error == "timeout":
        return UpstreamTimeout(f"{name} did not answer in time")
    return UpstreamError(
        {
            "connect": f"{name} could not be reached",
            "reset": f"{name} closed the connection before it answered",
        }.get(sent.error, f"{name} answered with something that is not an answer")
    )


def _stored(body: bytes, status: int, course: Course, house: House) -> Stored:
    call = course.call
    return Stored(
        status=status,
        body=body,
        content_type=JSON,
        model=course.attempts[-1].model,
        usage=course.usage,
        cost_nano=course.cost_nano,
        operation=call.operation,
        at=house.clock(),
        dialect=call.surface.value,
    )


def _passed(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name in PASSED_ON or name.startswith(PASSED_PREFIXES))


def ours(course: Course) -> tuple[tuple[str, str], ...]:
    """What jevons says of the call: its id, what it cost where that is known by now, and what the cache did."""
    headers = (("x-jevons-operation", course.call.operation), *course.notices)
    if course.call.task is not None:
        headers += (("x-jevons-task", course.call.task.task),)
    if course.attempts:
        cost = course.cost_nano
        headers += (("x-jevons-cost", "unpriced" if cost is None else f"{cost / 1e9:.9f}"),)
    if course.cache:
        headers += (("x-jevons-cache", course.cache),)
    return headers
