"""The levers as the pipeline meets them: what they ask, offer and leave alone."""

from array import array

import msgspec
import numpy as np
import pytest

from jevons.core.ask import Embed, Stored
from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.lab.distill import fit
from jevons.levers.lever import Outcome, Risk, View
from jevons.levers.route.cascade import Plan
from jevons.levers.route.cascade_lever import CascadeLever, Climb
from jevons.levers.route.lots import falls
from jevons.levers.route.prerouter import Head as RouterHead
from jevons.levers.route.prerouter import Router
from jevons.levers.route.prerouter_lever import PreRouterLever
from jevons.levers.route.promotion import Pin, Stage, Terms, move, pin, start
from jevons.levers.route.promotion_lever import PromotionLever
from jevons.levers.small.lever import Serving, SmallLever

PROVIDER = Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1")
LARGE, SMALL = (Route(provider=PROVIDER, upstream_model=name) for name in ("large", "small"))
ALL = dict.fromkeys(("route", "cascade", "prerouter", "small"), Risk.LOSSY)
ROUTES = {"large": LARGE, "small": SMALL}


def call(task="t1", operation="op1"):
    return Call(
        operation=operation,
        surface=Surface.CHAT,
        caller=Caller(key_id="k"),
        peek=Peek(model="large"),
        body=b"{}",
        headers={},
        at=1.0,
        task=TaskRef(task=task),
        site="site",
    )


def view(memory, allowed=ALL):
    return View(now=1.0, allowed=allowed, routes=(LARGE,), memory=memory)


def run(lever, asked, seen, *answers):
    """Offers, and what was asked for on the way."""
    steps, asks, answers = lever.offer(asked, seen), [], list(answers)
    try:
        ask = next(steps)
        while True:
            asks.append(ask)
            ask = steps.send(answers.pop(0))
    except StopIteration as end:
        return list(end.value), asks


def outcome(asked, seen, output=5, chosen=(), model="large"):
    reply = msgspec.structs.replace(stored("answer"), model=model)
    usage = Usage(output=output)
    return Outcome(call=asked, chosen=tuple(chosen), usage=usage, cost_nano=1, notes=seen.notes, reply=reply)


def way(model, _call):
    return ROUTES.get(model)


def promotion(terms=None):
    return PromotionLever(way, lambda _view: terms or Terms())


def candidate(stage, model="small"):
    return move(start("site", "large", model, Terms(), 0.0), stage, "because", 0.0)


def test_a_full_candidate_is_offered_to_every_task_with_its_margin():
    offers, _ = run(promotion(), call(), view({"route": (candidate(Stage.FULL),)}))
    assert [offer.effect.route for offer in offers] == [SMALL]
    assert offers[0].loss == Terms().margin
    assert "full" in offers[0].why


def test_a_canary_gets_whole_tasks_by_hash():
    terms, canary = Terms(canary_share=0.3), candidate(Stage.CANARY)

    def offered(task, operation):
        found, _ = run(promotion(terms), call(task, operation), view({"route": (canary,)}))
        return bool(found)

    got = [offered(f"task{number}", "a") for number in range(400)]
    assert got == [offered(f"task{number}", "b") for number in range(400)]
    assert 0.2 < np.mean(got) < 0.4


def test_a_shadow_is_asked_beside_the_answer_and_never_offered():
    lever, asked = promotion(Terms(shadow_share=1.0)), call()
    seen = view({"route": (candidate(Stage.SHADOW),)})
    offers, _ = run(lever, asked, seen)
    assert offers == []
    assert seen.collect, "the answer is kept, to be compared"
    (shadow,) = lever.learn(outcome(asked, seen))
    assert (shadow.route, shadow.body, shadow.role) == (SMALL, asked.body, "shadow")
    assert (shadow.about.reply.body, shadow.about.serving) == (b"answer", False)
    assert lever.learn(outcome(asked, seen, output=0)) == ()  # an answer that never came has no pair


def test_a_full_candidate_is_audited_by_the_incumbent():
    lever, asked = promotion(Terms(audit_share=1.0)), call()
    seen = view({"route": (candidate(Stage.FULL),)})
    offers, _ = run(lever, asked, seen)
    (audit,) = lever.learn(outcome(asked, seen, chosen=offers, model="small"))
    assert (audit.route, audit.role, audit.about.serving) == (LARGE, "audit", True)
    assert lever.learn(outcome(asked, seen, chosen=offers, model="large")) == []  # it failed: the incumbent answered
    assert lever.learn(outcome(asked, seen)) == []  # the governor kept the call at the incumbent


def test_a_shadow_is_paired_with_the_incumbent_and_with_nobody_else():
    lever, asked = promotion(Terms(shadow_share=1.0, audit_share=0.0)), call()
    seen = view({"route": (candidate(Stage.SHADOW), candidate(Stage.FULL, model="other"))})
    ROUTES["other"] = Route(provider=PROVIDER, upstream_model="other")
    offers, _ = run(lever, asked, seen)
    del ROUTES["other"]
    assert lever.learn(outcome(asked, seen, chosen=offers, model="other")) == []
    assert len(lever.learn(outcome(asked, seen))) == 1


def test_a_demoted_candidate_is_neither_offered_nor_asked():
    lever, asked = promotion(Terms(shadow_share=1.0)), call()
    seen = view({"route": (candidate(Stage.DEMOTED),)})
    assert run(lever, asked, seen)[0] == []
    assert lever.learn(outcome(asked, seen)) == []
    assert not seen.collect


@pytest.mark.parametrize("stage", list(Stage))
def test_a_vanished_candidate_or_a_plan_that_forbids_it_gets_nothing(stage):
    gone = (candidate(stage, model="gone"),)
    assert run(promotion(), call(), view({"route": gone}))[0] == []
    assert run(promotion(), call(), view({"route": (candidate(stage),)}, {"route": Risk.EQUIVALENT}))[0] == []
    assert run(promotion(), call(), view({}))[0] == []


def test_a_pin_is_said():
    pinned = (pin(candidate(Stage.SHADOW), Pin.CANDIDATE, 1.0),)
    (offer,), _ = run(promotion(), call(), view({"route": pinned}))
    assert "pinned by the operator" in offer.why


def climb(**changes):
    plan = Plan(
        ladder=("small", "large"), refused=False, why="sum", quality_ratio=0.99, cost_ratio=0.4, reach=(1.0, 0.2)
    )
    return Climb(**{"plan": plan, "incumbent": "large", "gate": "tests", "share": 1.0, **changes})


def test_a_ladder_is_offered_with_how_many_reach_each_rung():
    (offer,), _ = run(CascadeLever(way), call(), view({"cascade": climb()}))
    assert offer.effect.ladder == (SMALL, LARGE)
    assert offer.effect.reach == (1.0, 0.2)


def test_a_refused_ladder_or_one_with_a_missing_rung_is_not_offered():
    refused = Plan(ladder=("large",), refused=True, why="", quality_ratio=1.0, cost_ratio=1.2)
    missing = Plan(ladder=("gone", "large"), refused=False, why="", quality_ratio=1.0, cost_ratio=0.2, reach=(1.0, 0.1))
    for plan in (refused, missing):
        assert run(CascadeLever(way), call(), view({"cascade": climb(plan=plan)}))[0] == []
    assert run(CascadeLever(way), call(), view({"cascade": climb(share=0.0)}))[0] == []


def router(threshold=0.1, **sites):
    heads = [RouterHead(bias=bias, sites={"site": 0.0}, vector=(1.0, 0.0), words=(0.0,) * 4_096) for bias in (2.0, 2.0)]
    return Router(
        cheap="small",
        incumbent="large",
        cheap_head=heads[0],
        incumbent_head=heads[1],
        threshold=threshold,
        settled=sites,
        target=0.95,
        fitted_on=100,
    )


def test_an_open_site_is_embedded_and_a_settled_one_is_not():
    lever, vector = PreRouterLever(lambda _call: "text", way), array("f", [0.5, 0.5]).tobytes()
    offers, asks = run(lever, call(), view({"prerouter": router()}), [vector])
    assert isinstance(asks[0], Embed)
    assert offers[0].effect.route == SMALL
    offers, asks = run(lever, call(), view({"prerouter": router(site=True)}))
    assert (len(offers), asks) == (1, [])
    assert run(lever, call(), view({"prerouter": router(site=False)})) == ([], [])


def test_a_late_embedding_leaves_the_incumbent():
    assert run(PreRouterLever(lambda _call: "text", way), call(), view({"prerouter": router()}), None)[0] == []


def test_the_head_answers_what_it_is_sure_of_and_abstains_else():
    dice = np.random.default_rng(0)
    kinds = dice.integers(0, 3, 900)
    vectors = (np.eye(3)[kinds] + dice.normal(scale=0.15, size=(900, 3))).astype(np.float32)
    head = fit("site", vectors, [f"kind {kind}" for kind in kinds], 0.95, dice).head
    lever = SmallLever(lambda _call: "text", lambda _call, text: stored(text))
    seen = view({"small": Serving(head, live=True)})
    (offer,), _ = run(lever, call(), seen, [array("f", [0.0, 1.0, 0.0]).tobytes()])
    assert offer.effect.reply.body == b"kind 1"
    assert offer.loss == pytest.approx(0.05)
    assert run(lever, call(), seen, [array("f", [0.5, 0.5, 0.5]).tobytes()])[0] == []
    assert run(lever, call(), seen, None)[0] == []
    assert run(lever, call(), view({"small": Serving(head, live=False)})) == ([], [])


def stored(text):
    return Stored(
        status=200, body=text.encode(), content_type="", model="head", usage=None, cost_nano=0, operation="o", at=0.0
    )


def test_lots_are_the_share_and_stay():
    drawn = [falls(0.25, "purpose", str(number)) for number in range(4_000)]
    assert 0.22 < np.mean(drawn) < 0.28
    assert drawn == [falls(0.25, "purpose", str(number)) for number in range(4_000)]
    assert not falls(0.0, "purpose", "x")
    assert falls(1.0, "purpose", "x")
