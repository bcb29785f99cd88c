"""The OpenAPI document holds: whatever fits it is taken, whatever doesn't is refused, and nothing breaks."""

from __future__ import annotations

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import GenerationMode

LIMITS = {
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],
}


@pytest.fixture
def document(backend, user, integration, asking, install):
    """The document, with something in the database that calls can find."""
    install(integration)
    backend.get(f"/users/{user}/integrations/{integration}/install-url")
    config = schemathesis.Config.from_dict(
        {
            "headers": {"Accept": "application/json"},
            "generation": {"with-security-parameters": False},
            # A body that is wrong and too large at once may be called either.
            "checks": {"negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "409", "413"]}},
            # A batch in which no entry can be made is refused, as the clients know it, though its form is right.
            "operations": [
                {
                    "include-name": "POST /users/batch",
                    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "409"]}},
                }
            ],
        }
    )
    schema = schemathesis.openapi.from_wsgi("/openapi.json", backend.app, config=config)

    @schema.auth()
    class Key:
        def get(self, case, context):
            return backend.key

        def set(self, case, data, context):
            case.headers["Authorization"] = f"Bearer {data}"

    return schema


def test_the_document_is_openapi_3_1(document):
    assert document.raw_schema["openapi"].startswith("3.1")
    document.validate()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_call_keeps_to_the_document(document, mode):
    tried = 0
    for result in document.get_all_operations():
        operation = result.ok()
        tried += 1

        @settings(max_examples=20, **LIMITS)
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case):
            case.call_and_validate()

        if mode is GenerationMode.POSITIVE:
            one()
        else:
            with suppress(Unsatisfiable):  # a call without parameters can't be made wrong
                one()
    assert tried > 50


def test_sequences_of_calls_keep_to_the_document(document):
    sequences = document.as_state_machine()
    # The database remembers from one sequence to the next. That hypothesis notices it is no failure of the portal's:
    # those come as failures of the checks.
    with suppress(FlakyStrategyDefinition):
        sequences.run(settings=settings(max_examples=15, stateful_step_count=6, **LIMITS))
