"""The gateway against its own /openapi.json: schemathesis makes requests from it and checks what comes back."""

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jevons.engines.simulated import Simulator
from jevons.gateway.app import PATHS
from jevons.gateway.openapi import document
from tests.conformance.conftest import SECRET, Running

CHECKS = [schemathesis.checks.not_a_server_error, status_code_conformance, content_type_conformance,
          response_schema_conformance]  # fmt: skip
EXAMPLES = 12
"""For each of the document's operations."""


OPERATIONS = [result.ok() for result in schemathesis.openapi.from_dict(document()).get_all_operations()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_operation_keeps_the_document(shared_gateway: Running, simulator: Simulator, operation: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def keeps(case: Any) -> None:
        if isinstance(case.body, dict) and len(case.body.get("model") or "") % 2:  # every other one gets to a provider
            case.body["model"] = "claude-haiku-4-5" if "messages" in case.path else "gpt-4o-mini"
        answer = case.call(
            base_url=shared_gateway.url, headers={"authorization": f"Bearer {SECRET}"}, timeout=10, session=session
        )
        case.validate_response(answer, checks=CHECKS)

    with requests.Session() as session:
        keeps()


def test_every_surface_stands_in_the_document() -> None:
    paths = document()["paths"]
    assert set(PATHS) <= set(paths)
    assert all("post" in paths[path] for path in PATHS)
