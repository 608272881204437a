"""The server's OpenAPI description: whatever it allows to be asked is answered as it says."""

from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from small_bundles import save_generator, save_prior

from tfprior.serving import Settings, create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = {
    *("GET /healthz", "GET /readyz", "GET /metrics", "GET /v1/models", "GET /v1/models/{name}"),
    "GET /v1/models/{name}/bundle/{path}",
    *(
        f"POST /v1/models/{{name}}:{verb}"
        for verb in ("sample", "complete", "score", "encode", "features", "classify")
    ),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder: Path = tmp_path_factory.mktemp("bundles")
    bundles = [str(save_prior(folder / "prior")), str(save_generator(folder / "generator"))]
    return create_app(bundles, Settings(max_samples=4))


def test_every_answer_is_as_described(app: FastAPI) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} == OPERATIONS
    for operation in operations:

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answered(case: schemathesis.Case) -> None:
            if "name" in case.path_parameters:
                case.path_parameters["name"] = ("prior", "generator")[len(str(case.body)) % 2]
            case.call_and_validate(checks=CHECKS)

        answered()
