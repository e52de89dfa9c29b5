"""Counters of the gateway: plain integers on the hot path, Prometheus text when somebody scrapes.

What lives here: what is counted and its names. What it must not know: who counts.
"""

from collections.abc import Callable, Iterator
from typing import Any

from jevons.ledger.operation import Operation

LATENCY_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MAX_SERIES = 2_000
"""Distinct (surface, model, status) that are counted apart; further models are counted as `other`."""


class Series:
    """What one (surface, model, status) has seen."""

    __slots__ = ("buckets", "calls", "cost_nano", "input", "output", "seconds", "unpriced")

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.input = 0
        self.output = 0
        self.cost_nano = 0
        self.unpriced = 0


class Metrics:
    """Counts operations; gauges are read from callables at the scrape."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self._series: dict[tuple[str, str, int], Series] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._gauges[name] = (text, read)

    def refuse(self, code: str) -> None:
        """A request that was turned away before it became an operation."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def count(self, operation: Operation) -> None:
        at = (operation.surface, operation.model, operation.status)
        series = self._series.get(at)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                at = (operation.surface, "other", operation.status)
            series = self._series.setdefault(at, Series())
        series.calls += 1
        seconds = operation.duration_s
        series.seconds += seconds
        series.buckets[_bucket(seconds)] += 1
        for attempt in operation.attempts:
            usage = attempt.usage
            series.input += usage.prompt
            series.output += usage.output
            if attempt.cost_nano is None:
                series.unpriced += 1
            else:
                series.cost_nano += attempt.cost_nano

    def text(self) -> bytes:
        """The exposition in Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """prometheus_client's collector protocol."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        labels = ["surface", "model", "status"]
        calls = CounterMetricFamily("jevons_operations", "Operations booked", labels=labels)
        tokens = CounterMetricFamily("jevons_tokens", "Tokens burned", labels=[*labels, "kind"])
        cost = CounterMetricFamily("jevons_cost_dollars", "Dollars booked, priced attempts only", labels=labels)
        unpriced = CounterMetricFamily("jevons_unpriced_attempts", "Attempts without a known price", labels=labels)
        latency = HistogramMetricFamily("jevons_operation_seconds", "Seconds from call to end", labels=labels)
        for (surface, model, status), series in list(self._series.items()):
            names = [surface, model, str(status)]
            calls.add_metric(names, series.calls)
            tokens.add_metric([*names, "input"], series.input)
            tokens.add_metric([*names, "output"], series.output)
            cost.add_metric(names, series.cost_nano / 1e9)
            unpriced.add_metric(names, series.unpriced)
            latency.add_metric(names, _cumulative(series.buckets), series.seconds)
        refused = CounterMetricFamily(
            "jevons_refused", "Requests turned away before an operation began", labels=["code"]
        )
        for code, number in self.refused.items():
            refused.add_metric([code], number)
        yield from (calls, tokens, cost, unpriced, latency, refused)
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())


def _bucket(seconds: float) -> int:
    for index, bound in enumerate(LATENCY_BOUNDS_S):
        if seconds <= bound:
            return index
    return len(LATENCY_BOUNDS_S)


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total, out = 0, []
    for bound, number in zip([*map(str, LATENCY_BOUNDS_S), "+Inf"], buckets, strict=True):
        total += number
        out.append((bound, float(total)))
    return out
