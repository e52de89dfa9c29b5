"""The tool-result cache keeps what is declared, for as long as declared, and nothing else."""

from typing import Any

import pytest

from jevons.core.ask import Find
from jevons.core.prompt import Image, Prompt, Text, ToolResult, ToolUse, Turn
from jevons.levers.cache.toolresults import ToolResults, canonicalise


def find(
    cache: ToolResults, store: dict[tuple[str, bytes], Any], tenant: str, name: str, arguments: str, now: float
) -> Any:
    asks = cache.find(tenant, name, arguments, now)
    try:
        ask = next(asks)
        assert isinstance(ask, Find)
        asks.send(store.get((ask.tenant, ask.key)))
    except StopIteration as done:
        return done.value
    raise AssertionError("one ask is enough")


def test_the_order_of_arguments_does_not_matter_and_their_values_do() -> None:
    cache = ToolResults({"search": 60.0})
    assert cache.key("search", '{"a": 1, "b": [1, 2]}') == cache.key("search", '{"b":[1,2],"a":1}')
    assert cache.key("search", '{"a": 1}') != cache.key("search", '{"a": 2}')
    assert cache.key("search", '{"a": 1}') != cache.key("search", '{"a": "1"}')


@pytest.mark.parametrize("arguments", ["[1]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '"x"', "[" * 9_000])
def test_odd_arguments_are_not_cached(arguments: str) -> None:
    assert canonicalise(arguments) is None
    assert ToolResults({"search": 60.0}).key("search", arguments) is None


def test_an_answer_holds_for_its_tools_lifetime_and_within_its_tenant() -> None:
    cache = ToolResults({"search": 60.0})
    keep = cache.keep("acme", "search", '{"q": "x"}', "found", 100.0)
    assert keep is not None
    assert keep.ttl_s == 60.0
    store = {(keep.tenant, keep.key): keep.stored}
    assert find(cache, store, "acme", "search", '{ "q":"x" }', 159.0) == "found"
    assert find(cache, store, "acme", "search", '{"q": "x"}', 160.0) is None
    assert find(cache, store, "other", "search", '{"q": "x"}', 110.0) is None
    assert find(cache, store, "acme", "write", '{"q": "x"}', 110.0) is None


def test_only_fresh_whole_answers_of_declared_tools_are_harvested() -> None:
    uses = tuple(ToolUse(f"c{n}", name, "{}") for n, name in enumerate(["search", "write", "search", "search"]))
    results = (
        ToolResult("c0", (Text("one"),)),
        ToolResult("c1", (Text("two"),)),
        ToolResult("c2", (Text("failed"),), is_error=True),
        ToolResult("c3", (Image(url="u"),)),
        ToolResult("c9", (Text("nobody asked"),)),
    )
    old = [
        Turn("assistant", (ToolUse("c0", "search", '{"old": 1}'),)),
        Turn("user", (ToolResult("c0", (Text("old"),)),)),
    ]
    prompt = Prompt(model="m", turns=(*old, Turn("assistant", uses), Turn("user", results)))
    kept = ToolResults({"search": 60.0}).harvest("acme", prompt, 5.0)
    assert [keep.stored.body for keep in kept if keep.stored] == [b"one"]


def test_a_lifetime_must_be_sensible() -> None:
    for seconds in (0.0, -1.0, 1e9):
        with pytest.raises(ValueError, match="lifetime"):
            ToolResults({"search": seconds})
