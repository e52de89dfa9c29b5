"""The price book against genai-prices itself, and against prices that providers publish."""

import datetime as dt
from decimal import Decimal

import genai_prices
import msgspec
import pytest
from genai_prices.data import providers

from jevons.core.errors import SettingsError
from jevons.core.money import nano
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.prices.book import Book
from jevons.prices.overrides import parse
from jevons.prices.snapshot import load

BOOK = Book.load()
USAGES = (
    Usage(input=1_000, output=500),
    Usage(input=700, cached=50_000, output=1_200, reasoning=800),
    Usage(input=10, cached=180_000, cache_write_5m=30_000, output=2_000),
    Usage(input=250_000, cached=10_000, cache_write_5m=5_000, cache_write_1h=1_000, output=9),
    Usage(cached=199_000, input=1_000, output=1),
    Usage(cached=199_001, input=1_000, output=1),
)
MOMENTS = ("2025-06-03T12:00", "2026-04-01T02:30", "2026-10-20T23:59", "2026-11-24T09:00")
CONTEXTS = {
    "": None,
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


def unix(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


def independent(provider: str, model: str, moment: str, usage: Usage, context) -> int:
    """What genai-prices says, in nano-dollars."""
    writes = usage.cache_write_5m + usage.cache_write_1h
    reported = genai_prices.Usage(
        input_tokens=usage.prompt,
        cache_read_tokens=usage.cached,
        cache_write_tokens=writes,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        output_reasoning_tokens=usage.reasoning,
    )
    known = {found.id: found for found in providers}
    info = known[provider].find_model(model, all_providers=providers)
    price = info.calc_price(
        reported,
        known[provider],
        genai_request_timestamp=dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC),
        price_context=context,
    )
    return nano(price.total_price)


def _covered():
    """Every model of the large providers that is priced by the token both ways, and a few resellers' models."""
    for name in ("openai", "anthropic", "google", "mistral", "groq", "x-ai", "together", "cohere", "moonshotai"):
        for info in next(found for found in providers if found.id == name).models:
            model = load_model(name, info.id)
            if model is not None:
                yield name, info.id
    yield from (
        ("azure", "gpt-4o"),
        ("azure", "gpt-5-mini"),
        ("google", "claude-sonnet-4-5"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        ("aws", "anthropic.claude-3-haiku-20240307-v1:0"),
    )


def _names_hour_writes(provider: str, model: str) -> bool:
    """Where the file names none, ours differs on purpose: see the test of one-hour writes."""
    return "claude" not in model or "h" in SNAPSHOT.model(provider, model).prices[0].rates


def _without_hour_writes(usage: Usage) -> Usage:
    return msgspec.structs.replace(usage, cache_write_1h=0)


SNAPSHOT = load()


def load_model(provider: str, name: str):
    model = SNAPSHOT.model(provider, name)
    if model is None or any(not {"i", "o"} <= dated.rates.keys() for dated in model.prices):
        return None
    return model


def test_every_large_providers_price_is_what_genai_prices_says():
    compared = 0
    for provider, model in _covered():
        for moment in MOMENTS:
            for usage in USAGES if _names_hour_writes(provider, model) else map(_without_hour_writes, USAGES):
                ours = BOOK.price(provider, model, unix(moment), usage).nano
                assert ours is not None, (provider, model)
                theirs = independent(provider, model, moment, usage, None)
                assert abs(ours - theirs) <= 1, (provider, model, moment, usage)
                compared += 1
    assert compared > 5_000


def test_every_tier_with_rates_of_its_own_is_what_genai_prices_says():
    compared = 0
    for provider in ("openai", "anthropic", "google", "mistral", "groq", "x-ai"):
        for info in next(found for found in providers if found.id == provider).models:
            for tier, context in CONTEXTS.items():
                model = load_model(provider, info.id)
                named = model is not None and any(dated.tier == tier for dated in model.tiers)
                if not tier or not named:
                    continue
                for usage in USAGES:
                    ours = BOOK.price(provider, info.id, unix("2026-11-24T09:00"), usage, tier).nano
                    theirs = independent(provider, info.id, "2026-11-24T09:00", usage, context)
                    assert abs(ours - theirs) <= 1, (provider, info.id, tier, usage)
                    compared += 1
    assert compared > 500


def test_an_unknown_model_provider_or_tier_is_unpriced_and_never_zero():
    for provider, model, tier in (
        ("openai", "gpt-99-imaginary", ""),
        ("nobody", "gpt-5", ""),
        ("anthropic", "claude-sonnet-4-5", "priority"),
        ("openai", "gpt-5", "brand-new-tier"),
    ):
        priced = BOOK.price(provider, model, unix("2026-11-24T09:00"), USAGES[0], tier)
        assert (priced.nano, priced.source, priced.rates) == (None, "unpriced", None)


def test_a_kind_of_token_without_a_rate_makes_the_call_unpriced_only_when_it_was_used():
    at = unix("2026-11-24T09:00")
    assert BOOK.price("openai", "text-embedding-3-small", at, Usage(input=1_000_000)).nano == nano("0.02")
    book = with_overrides('[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1')
    assert book.price("p", "m", at, Usage(input=1)).nano == 1000
    assert book.price("p", "m", at, Usage(input=1, output=1)).nano is None


def test_an_explicit_zero_is_free():
    book = with_overrides('[[price]]\nprovider = "p"\nmodel = "*"\ninput = 0\noutput = 0')
    assert book.price("p", "anything", 0.0, USAGES[0]).nano == 0


def test_the_standard_tier_has_many_names():
    at = unix("2026-11-24T09:00")
    plain = BOOK.price("openai", "gpt-5", at, USAGES[0])
    for name in ("default", "standard", "auto", "Default"):
        assert BOOK.price("openai", "gpt-5", at, USAGES[0], name) == plain


def test_batch_halves_every_kind_even_where_the_snapshot_has_no_rate_yet():
    at, usage = unix("2026-03-01T09:00"), USAGES[3]
    for provider, model in (("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5")):
        whole = BOOK.price(provider, model, at, usage).nano
        half = BOOK.price(provider, model, at, usage, "batch")
        assert abs(half.nano * 2 - whole) <= 1
        assert "x 0.5" in half.version


def test_a_one_hour_write_costs_twice_the_input_where_the_file_names_none():
    at = unix("2026-11-24T09:00")
    seller = next(
        (name, model.id)
        for name in SNAPSHOT.providers()
        for model in SNAPSHOT.provider(name).models
        if "claude" in model.id and "w" in model.prices[0].rates and "h" not in model.prices[0].rates
    )
    base = BOOK.price(*seller, at, Usage(input=1000)).nano
    assert BOOK.price(*seller, at, Usage(cache_write_1h=1000)).nano == 2 * base


def test_the_long_context_step_looks_at_the_whole_prompt_and_takes_the_whole_request():
    at = unix("2026-01-15T00:00")
    short = BOOK.price("anthropic", "claude-sonnet-4-5", at, Usage(cached=200_000, output=10))
    longer = BOOK.price("anthropic", "claude-sonnet-4-5", at, Usage(cached=200_001, output=10))
    assert short.nano == nano("0.06015")
    assert longer.nano == nano(Decimal(200_001) * Decimal("0.6") / 10**6 + Decimal(10) * Decimal("22.5") / 10**6)
    assert longer.rates["input"] == 2 * short.rates["input"]


@pytest.mark.parametrize(
    ("moment", "dollars_per_million_output"),
    [
        ("2026-08-16T02:00", "0.87"),  # before there were peak hours
        ("2026-08-22T02:00", "3.96"),  # a Saturday on which the peak still counted every day
        ("2026-11-20T00:59", "1.98"),
        ("2026-11-20T01:00", "3.96"),  # a Friday
        ("2026-11-20T04:00", "1.98"),
        ("2026-11-20T06:00", "3.96"),
        ("2026-11-20T10:00", "1.98"),
        ("2026-11-21T02:00", "1.98"),  # a Saturday
        ("2026-11-22T07:00", "1.98"),
        ("2026-11-23T01:00", "3.96"),
    ],
)
def test_deepseeks_peak_is_on_weekdays(moment, dollars_per_million_output):
    priced = BOOK.price("deepseek", "deepseek-v4-pro", unix(moment), Usage(output=1_000_000))
    assert priced.nano == nano(dollars_per_million_output)


def test_the_moment_decides_in_any_order_of_asking():
    book, usage = Book.load(), Usage(output=1_000_000)
    moments = ["2026-11-20T01:00", "2026-08-16T02:00", "2026-11-21T02:00", "2026-08-22T02:00"] * 2
    found = [book.price("deepseek", "deepseek-v4-pro", unix(moment), usage).nano for moment in moments]
    assert found[:4] == found[4:] == [nano(x) for x in ("3.96", "0.87", "1.98", "3.96")]


def with_overrides(text: str) -> Book:
    return Book(SNAPSHOT, (), parse(text, "prices.toml"))


def test_an_override_wins_from_its_date_and_names_its_version():
    book = with_overrides(
        '[[price]]\nprovider = "openai"\nmodel = "gpt-5*"\nfrom = 2026-10-01\ninput = "1.00"\noutput = "8"\n'
    )
    before = book.price("openai", "gpt-5", unix("2026-09-30T23:59"), Usage(input=1_000_000))
    after = book.price("openai", "gpt-5", unix("2026-10-01T00:00"), Usage(input=1_000_000))
    assert (before.nano, before.source) == (nano("1.25"), "book")
    assert (after.nano, after.source) == (nano("1"), "override")
    assert after.version.startswith("override ")


def test_a_window_over_midnight_belongs_to_the_day_that_opened_it():
    book = with_overrides(
        '[[price]]\nprovider = "p"\nmodel = "m"\ninput = 10\n'
        '[[price]]\nprovider = "p"\nmodel = "m"\ndays = ["fri"]\nhours = ["22:00", "06:00"]\ninput = 1\n'
    )
    usage = Usage(input=1_000_000)
    expected = {
        "2026-11-20T05:00": 10,  # Friday morning: Thursday's window is not one
        "2026-11-20T21:59": 10,
        "2026-11-20T22:00": 1,
        "2026-11-21T05:59": 1,
        "2026-11-21T06:00": 10,
        "2026-11-21T23:00": 10,
    }
    for moment, dollars in expected.items():
        assert book.price("p", "m", unix(moment), usage).nano == nano(dollars), moment


def test_an_override_may_have_long_context_steps_that_inherit():
    book = with_overrides(
        '[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\noutput = 4\nabove = [{prompt = 1000, input = 2}]\n'
    )
    assert book.price("p", "m", 0.0, Usage(input=1000, output=1)).nano == 1000 * 1000 + 4000
    assert book.price("p", "m", 0.0, Usage(input=1001, output=1)).nano == 1001 * 2000 + 4000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("price = 3", "[[price]]"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = -1', "is no price"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = "1,25"', "is no price"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = nan', "is no price"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninptu = 1', "did you mean input"),
        ('[[price]]\nprovider = "p"\nmodel = "m"', "give rates"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\nuntil = 2026-01-01\nfrom = 2026-02-01', "must be after"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\ndays = ["friday"]', "no weekday"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\nhours = ["25:00", "1"]', "no time"),
        ('[[price]]\nprovider = "p"\nmodel = "m"\nfactor = 0.5', "needs a tier"),
        ("[[price", "not TOML"),
    ],
)
def test_a_wrong_override_is_refused_with_what_to_write(text, says):
    with pytest.raises(SettingsError) as refused:
        parse(text, "prices.toml")
    assert says in refused.value.message
    assert refused.value.message.startswith("prices.toml")


def test_a_cost_that_the_provider_reports_wins_and_a_machine_is_priced_by_its_seconds():
    remote = Route(provider=Provider(name="openai", dialect="openai", base_url=""), upstream_model="gpt-5")
    local = Route(provider=Provider(name="local", dialect="openai", base_url="", local=True), upstream_model="smol")
    at = unix("2026-11-24T09:00")
    assert BOOK.price_route(remote, USAGES[0], "", 0.1, at, 1.0).nano == nano("0.1")
    assert BOOK.price_route(remote, USAGES[0], "", 0.1, at, 1.0).source == "provider"
    assert BOOK.price_route(remote, USAGES[0], "", None, at, 1.0).source == "book"
    modelled = BOOK.price_route(local, USAGES[0], "", None, at, 36.0)
    assert (modelled.nano, modelled.source) == (nano("0.001"), "machine")
    assert "modelled" in modelled.version


def test_the_snapshot_is_what_the_installed_genai_prices_gives():
    from jevons.lab.prices_snapshot import DEFAULT_FILE, snapshot

    assert DEFAULT_FILE.read_bytes() == snapshot()
