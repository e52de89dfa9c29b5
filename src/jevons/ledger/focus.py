"""The ledger as FOCUS rows: the FinOps Open Cost and Usage Specification, version 1.2.

What it decides: which column says what of a day's use of one model, kind of token, customer and price. What it must not
know: files, formats, where the sums come from. A charge is what the provider bills: its tokens times the rate that they
were booked with. What was booked as a whole (a cost that the provider reported itself, a machine's time) is one row
without a unit price. What has no known price is no row: a cost may not be empty there, and unknown is never zero, so
whoever writes the rows says how many calls are missing.

The columns: every one that 1.2 makes mandatory, the conditional ones that apply to usage, those that 1.0 demands even
when they are empty (commitment discounts), and ours with the prefix x_.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import msgspec

from jevons.core.usage import Usage
from jevons.ledger.invoice import KINDS

VERSION = "1.2"
PICO, NANO = Decimal(10) ** -12, Decimal(10) ** -9
MILLION = 1_000_000
COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription",
    "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity",
    "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName",
    "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType",
    "Tags", "x_Plan", "x_CallSite", "x_KeyId", "x_Calls", "x_Basis",
)  # fmt: skip
METERS = {
    "input": "Input Tokens",
    "cached": "Cached Input Tokens",
    "cache_write_5m": "Cache Write 5m Tokens",
    "cache_write_1h": "Cache Write 1h Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Tokens",
}
Row = dict[str, Decimal | str | None]


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """One day's sums of one series (who, where) and tariff (what, at which price)."""

    day: str
    provider: str
    model: str
    tier: str
    estimated: bool
    cost_source: str
    price_version: str
    rates: dict[str, int] | None
    tenant: str
    customer: str
    plan: str
    key_id: str
    site: str
    calls: int
    usage: Usage
    cost_nano: int | None


def rows(spent: Spent) -> Iterator[Row]:
    """The charges of one sum: a row a kind of token, which add up to its cost. None without a price."""
    if spent.cost_nano is None:
        return
    quantities = _quantities(spent)
    if spent.cost_source in {"provider", "machine"} or spent.rates is None:
        tokens = sum(quantities.values())
        if tokens or spent.cost_nano:
            yield _row(spent, "", tokens, spent.cost_nano * NANO, None)
        return
    left = spent.cost_nano * NANO
    kinds = [(kind, tokens) for kind, tokens in quantities.items() if tokens]
    for number, (kind, tokens) in enumerate(kinds):
        rate = spent.rates.get(kind, 0) * PICO
        exact = tokens * rate
        # each call's cost was rounded to a nano-dollar when it was booked: the last row carries those roundings
        cost = left if number == len(kinds) - 1 else exact
        left -= cost
        yield _row(spent, kind, tokens, cost, rate)


def _quantities(spent: Spent) -> dict[str, int]:
    """Tokens by the rate that they are billed at: hidden reasoning apart where its rate is another one."""
    counts = {kind: getattr(spent.usage, kind) for kind in KINDS}
    rates = spent.rates or {}
    if spent.usage.reasoning and rates.get("reasoning", rates.get("output")) != rates.get("output"):
        counts["output"] -= spent.usage.reasoning
        counts["reasoning"] = spent.usage.reasoning
    return counts


def _row(spent: Spent, kind: str, tokens: int, cost: Decimal, rate: Decimal | None) -> Row:
    day = date.fromisoformat(spent.day)
    month = day.replace(day=1)
    after = (month + timedelta(days=32)).replace(day=1)
    sku = "/".join(filter(None, (spent.provider, spent.model, spent.tier, kind)))
    meter = METERS.get(kind, "Tokens" if tokens else "Machine Time")
    priced = rate is not None
    row: Row = dict.fromkeys(COLUMNS)
    row |= {
        "BilledCost": cost,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "BillingAccountId": spent.provider,
        "BillingAccountName": spent.provider,
        "BillingAccountType": "Provider account",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _moment(month),
        "BillingPeriodEnd": _moment(after),
        "ChargePeriodStart": _moment(day),
        "ChargePeriodEnd": _moment(day + timedelta(days=1)),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{spent.model}, {meter.lower()}" + (f", {spent.tier}" if spent.tier else ""),
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": Decimal(tokens),
        "ConsumedUnit": "Tokens",
        "PricingCategory": "Standard" if priced else None,
        "PricingQuantity": Decimal(tokens) / MILLION if priced else None,
        "PricingUnit": "1000000 Tokens" if priced else None,
        "ListUnitPrice": None if rate is None else rate * MILLION,
        "ContractedUnitPrice": None if rate is None else rate * MILLION,
        "InvoiceIssuerName": spent.provider,
        "ProviderName": spent.provider,
        "PublisherName": spent.provider,
        "ResourceId": sku if kind else "/".join(filter(None, (spent.provider, spent.model))),
        "ResourceName": spent.model,
        "ResourceType": "Model",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": f"{spent.provider} API",
        "SkuId": sku,
        "SkuMeter": meter,
        "SkuPriceId": f"{sku}@{spent.price_version}" if priced else None,
        "SubAccountId": spent.customer or spent.tenant,
        "SubAccountName": spent.customer or spent.tenant,
        "SubAccountType": "Customer" if spent.customer else "Key",
        "Tags": msgspec.json.encode({"plan": spent.plan, "site": spent.site, "tenant": spent.tenant}).decode(),
        "x_Plan": spent.plan,
        "x_CallSite": spent.site,
        "x_KeyId": spent.key_id,
        "x_Calls": Decimal(spent.calls),
        "x_Basis": "modelled" if spent.estimated or spent.cost_source == "machine" else "measured",
    }
    return row


def _moment(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"
