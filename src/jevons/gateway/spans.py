"""OpenTelemetry spans of booked operations, by the GenAI semantic conventions: an extra, off unless an endpoint is set.

What lives here: an Operation as a span, its attempts as child spans. What it must not know: how calls run; a span is
made afterwards from what was booked, so tracing costs the call nothing. Attribute names: OpenTelemetry semantic
conventions 1.37, gen-ai registry.
"""

from collections.abc import Callable
from typing import Any

from jevons.core.errors import SettingsError
from jevons.ledger.operation import Attempt, Operation

NANO_PER_S = 1_000_000_000
NAMES = {"chat": "chat", "responses": "chat", "messages": "chat", "embeddings": "embeddings"}
"""Surface -> gen_ai.operation.name."""
SYSTEMS = {"openai": "openai", "anthropic": "anthropic", "gemini": "gcp.gemini", "deepseek": "deepseek"}


def exporter(endpoint: str, service: str = "jevons") -> Callable[[Operation], None]:
    """A function that sends each operation as spans to an OTLP/HTTP endpoint, batched in the background.

    Raises SettingsError when the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SettingsError("telemetry.otlp_endpoint needs OpenTelemetry: pip install 'jevons[otel]'") from None
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return spans(provider)


def spans(provider: Any) -> Callable[[Operation], None]:
    """The same over a given opentelemetry TracerProvider."""
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, Status, StatusCode

    tracer = provider.get_tracer("jevons")

    def send(operation: Operation) -> None:
        name = f"{NAMES.get(operation.surface, operation.surface)} {operation.model}"
        began = _nano(operation.started)
        span = tracer.start_span(name, start_time=began, kind=SpanKind.SERVER, attributes=_operation(operation))
        if operation.status >= 400:
            span.set_status(Status(StatusCode.ERROR, operation.error or str(operation.status)))
        inside = trace.set_span_in_context(span)
        for attempt in operation.attempts:
            child = tracer.start_span(
                f"{attempt.role} {attempt.provider}/{attempt.model}",
                context=inside,
                start_time=_nano(attempt.started),
                kind=SpanKind.CLIENT,
                attributes=_attempt(operation, attempt),
            )
            if attempt.status >= 400 or attempt.error:
                child.set_status(Status(StatusCode.ERROR, attempt.error or str(attempt.status)))
            child.end(_nano(attempt.started + attempt.duration_s))
        span.end(_nano(operation.started + operation.duration_s))

    return send


def _operation(operation: Operation) -> dict[str, Any]:
    usage = operation.usage
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": NAMES.get(operation.surface, operation.surface),
        "gen_ai.request.model": operation.model,
        "gen_ai.response.model": operation.served_model,
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.conversation.id": operation.task,
        "http.response.status_code": operation.status,
        "jevons.operation": operation.operation,
        "jevons.customer": operation.customer,
        "jevons.plan": operation.plan,
        "jevons.cache": operation.cache,
        "jevons.usage.cached_tokens": usage.cached,
    }
    if operation.cost_nano is not None:
        attributes["jevons.cost_nanodollars"] = operation.cost_nano
    return {name: value for name, value in attributes.items() if value != ""}


def _attempt(operation: Operation, attempt: Attempt) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": NAMES.get(operation.surface, operation.surface),
        "gen_ai.provider.name": SYSTEMS.get(attempt.provider, attempt.provider),
        "gen_ai.request.model": attempt.model,
        "gen_ai.usage.input_tokens": attempt.usage.prompt,
        "gen_ai.usage.output_tokens": attempt.usage.output,
        "http.response.status_code": attempt.status,
        "jevons.role": attempt.role,
    }


def _nano(seconds: float) -> int:
    return int(seconds * NANO_PER_S)
