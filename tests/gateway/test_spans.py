"""Spans say what was booked, by the conventions' names."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.gateway.spans import spans
from jevons.ledger.operation import Attempt, Operation


def operation(status: int = 200) -> Operation:
    attempts = (
        Attempt(provider="openai", model="gpt-4o", status=503, started=10.0, duration_s=0.5, cost_nano=Nano(0)),
        Attempt(
            provider="anthropic", model="claude", status=status, started=10.5, duration_s=1.0,
            usage=Usage(input=10, cached=90, output=7), cost_nano=Nano(1234),
        ),
    )  # fmt: skip
    return Operation(
        operation="op_1", tenant="t", key_id="k", customer="acme", plan="", task="run-7", task_source="header",
        parent="", started=10.0, task_name="", site="", surface="messages", model="best", served_model="claude",
        status=status, duration_s=1.5, attempts=attempts,
    )  # fmt: skip


def test_an_operation_is_a_span_with_its_attempts_inside() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans(provider)(operation())
    failed, answered, whole = exporter.get_finished_spans()
    assert whole.name == "chat best"
    assert whole.attributes["gen_ai.usage.input_tokens"] == 100
    assert whole.attributes["gen_ai.conversation.id"] == "run-7"
    assert whole.attributes["jevons.cost_nanodollars"] == 1234
    assert "jevons.plan" not in whole.attributes
    assert (whole.start_time, whole.end_time) == (10_000_000_000, 11_500_000_000)
    assert {span.parent.span_id for span in (failed, answered)} == {whole.context.span_id}
    assert failed.status.status_code == StatusCode.ERROR
    assert answered.attributes["gen_ai.provider.name"] == "anthropic"


def test_a_failed_operation_is_a_failed_span() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans(provider)(operation(status=502))
    assert exporter.get_finished_spans()[-1].status.status_code == StatusCode.ERROR
