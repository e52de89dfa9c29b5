"""FOCUS rows: mandatory columns are filled, and the rows of a day add up to its cost."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.usage import Usage
from jevons.ledger.focus import COLUMNS, Spent, rows
from jevons.prices.cost import Rates, amount

MANDATORY = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost",
    "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName", "ServiceSubcategory",
)  # fmt: skip
"""Of version 1.2, those that may not be null in a priced row of use."""
RATES = {"input": 150_000, "cached": 75_000, "output": 600_000}


def spent(**changes):
    given = {
        "day": "2026-12-31", "provider": "openai", "model": "gpt-4o-mini", "tier": "", "estimated": False,
        "cost_source": "book", "price_version": "v1", "rates": RATES, "tenant": "acme", "customer": "acme",
        "plan": "pro", "key_id": "key_1", "site": "s", "calls": 2, "usage": Usage(input=100, cached=900, output=50),
        "cost_nano": 113,
    }  # fmt: skip
    return Spent(**{**given, **changes})


def test_a_priced_day_has_a_row_for_each_kind_of_token_and_all_mandatory_columns():
    found = list(rows(spent()))
    assert [row["SkuMeter"] for row in found] == ["Input Tokens", "Cached Input Tokens", "Output Tokens"]
    assert all(row[name] is not None for row in found for name in MANDATORY)
    assert all(tuple(row) == COLUMNS for row in found)
    assert found[0]["BilledCost"] == Decimal("0.000015")
    assert (found[0]["ListUnitPrice"], found[0]["PricingQuantity"]) == (Decimal("0.15"), Decimal("0.0001"))
    assert (found[0]["BillingPeriodStart"], found[0]["BillingPeriodEnd"]) == (
        "2026-12-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    )


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6), st.integers(-20, 20))
def test_the_rows_of_a_sum_add_up_to_what_was_booked(plain, cached, output, rounding):
    usage = Usage(input=plain, cached=cached, output=output)
    exact = amount(Rates(**RATES), usage)
    if not usage.prompt + usage.output:
        return
    cost = exact // 1_000 + rounding
    found = list(rows(spent(usage=usage, cost_nano=cost)))
    assert sum(row["BilledCost"] for row in found) == Decimal(cost) / 10**9
    assert sum(row["ConsumedQuantity"] for row in found) == usage.prompt + usage.output


def test_hidden_reasoning_is_apart_where_its_rate_is():
    usage = Usage(output=50, reasoning=20)
    same, other = RATES, {**RATES, "reasoning": 300_000}
    assert [row["ConsumedQuantity"] for row in rows(spent(usage=usage, rates=same, cost_nano=30))] == [50]
    assert [row["SkuMeter"] for row in rows(spent(usage=usage, rates=other, cost_nano=24))] == [
        "Output Tokens",
        "Reasoning Tokens",
    ]


@pytest.mark.parametrize("source", ["provider", "machine"])
def test_what_was_booked_as_a_whole_is_one_row_without_a_unit_price(source):
    (row,) = rows(spent(cost_source=source, rates=None))
    assert (row["BilledCost"], row["ListUnitPrice"], row["PricingQuantity"]) == (Decimal("0.000000113"), None, None)
    assert row["x_Basis"] == ("modelled" if source == "machine" else "measured")


def test_an_unpriced_day_is_no_row_rather_than_one_that_costs_nothing():
    assert list(rows(spent(cost_source="unpriced", rates=None, cost_nano=None))) == []
