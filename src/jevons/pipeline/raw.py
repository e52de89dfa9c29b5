"""One raw call from start to end: a provider's other path, governed like every call, its bytes passed on as they are.

No lever looks at it and nothing is tried again: what a path does is not known here. What is known: whose budget it
falls under, and that a call that makes something has a price. A reply that says what it burned is priced; one that
does not is booked as unpriced, and a budget in dollars refuses beforehand what it could not price.
"""

from collections.abc import Generator

from jevons.core.ask import Answer, Ask, Gone, Relay, Relayed, Send, Sent
from jevons.core.call import Call, Surface
from jevons.core.errors import JevonsError, UpstreamError
from jevons.core.usage import NOTHING
from jevons.ledger.operation import Attempt
from jevons.levers.lever import View
from jevons.pipeline.admit import admit
from jevons.pipeline.course import FREE, Course
from jevons.pipeline.run import CLIENT_CLOSED, PASSED_ON, PASSED_PREFIXES, House, book, failure, ours
from jevons.prices.cost import UNPRICED
from jevons.wire.errors import error_body

FREE_METHODS = frozenset({"GET", "HEAD", "DELETE"})
"""They read or remove what is there, and make nothing: no provider bills them."""
PASSED = PASSED_ON | {"content-disposition", "content-encoding", "openai-version"}


def raw(call: Call, view: View, house: House) -> Generator[Ask, Answer, None]:
    """One raw call, from its budget to its booking."""
    course = Course(call, view, house.price, house.terms)
    try:
        try:
            if call.method not in FREE_METHODS:
                course.claimed = yield from admit(call, view, course, house.price)
            yield from _pass_on(call, view, course, house)
        except JevonsError as error:
            course.error = error.code
            yield from book(error.status, course, house)
            headers = ours(course)
            if error.retry_after_s is not None:
                headers += (("retry-after", f"{error.retry_after_s:.0f}"),)
            yield Relay(status=error.status, body=error_body(dialect(view).value, error), headers=headers)
    except Gone:
        course.cancelled = True
        if not course.booked:
            yield from book(CLIENT_CLOSED, course, house)


def dialect(view: View) -> Surface:
    """The surface in whose words a raw caller is told of an error: the provider's own."""
    return Surface.MESSAGES if view.routes[0].provider.dialect == "anthropic" else Surface.CHAT


def _pass_on(call: Call, view: View, course: Course, house: House) -> Generator[Ask, Answer, None]:
    route = view.routes[0]
    began = house.clock()
    try:
        sent: Sent = yield Send(route=route, surface=Surface.RAW.value, body=call.body, stream=True)
    except Gone:
        sent = Sent(route=route, status=0, error="cancelled", duration_s=house.clock() - began)
        _record(course, house, sent, Relayed())
        raise
    if sent.error:
        _record(course, house, sent, Relayed())
        raise failure(sent)
    if 300 <= sent.status < 400:  # not followed: an upstream's address is the operator's to choose
        _record(course, house, sent, Relayed())
        raise UpstreamError(f"{route.provider.name} answered with a redirect, and none is followed")
    headers = tuple((n, v) for n, v in sent.headers if n in PASSED or n.startswith(PASSED_PREFIXES))
    try:
        relayed: Relayed = yield Relay(
            status=sent.status,
            content_type=sent.content_type,
            headers=headers + ours(course),
            sent=sent,
            source=Surface.RAW.value,
        )
    except Gone as gone:
        _record(course, house, sent, gone.so_far)
        raise
    _record(course, house, sent, relayed)
    course.error = relayed.error
    yield from book(sent.status, course, house)


def _record(course: Course, house: House, sent: Sent, relayed: Relayed) -> None:
    """The attempt: priced when the reply said what it burned, free when nothing can have been, else unpriced."""
    call, route = course.call, sent.route
    usage, source, tier = relayed.usage, "reported", relayed.tier
    if call.method in FREE_METHODS or sent.error == "connect" or sent.status >= 300:
        usage, source, priced = NOTHING, "none", FREE
    elif usage is None:
        usage, source, priced = NOTHING, "none", UNPRICED
    else:
        priced = house.price(route, usage, tier, relayed.cost_usd, call.at, relayed.duration_s)
    course.attempts.append(
        Attempt(
            provider=route.provider.name,
            model=route.upstream_model,
            status=sent.status,
            error=sent.error or relayed.error,
            started=call.at,
            duration_s=relayed.duration_s or sent.duration_s,
            first_byte_s=relayed.first_byte_s,
            usage=usage,
            usage_source=source,
            tier=tier,
            cost_nano=priced.nano,
            cost_source=priced.source,
            price_version=priced.version,
            rates=priced.rates,
        )
    )
