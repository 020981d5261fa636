"""Each piece of the chassis loads only what it needs: a participant pays for no SQL."""

import json
import subprocess
import sys

import pytest

HEAVY = {"prometheus_client", "structlog", "sqlalchemy", "opentelemetry", "pydantic", "asyncio"}
NEEDS = {
    "facts": set[str](),
    "exit_codes": set[str](),
    "metric_table": set[str](),
    "settings": {"pydantic", "asyncio"},
    "lifecycle": {"asyncio"},
    "observers": set[str](),
    "health": {"prometheus_client", "asyncio"},
    "metrics": {"prometheus_client", "asyncio"},
    "tracing": {"opentelemetry"},
    "logs": {"structlog", "opentelemetry", "asyncio"},
}


@pytest.mark.parametrize("module", NEEDS)
def test_a_module_loads_only_what_it_needs(module: str) -> None:
    code = f"import chassis.{module}, sys, json; print(json.dumps(list(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert set(json.loads(answer.stdout)) & HEAVY <= NEEDS[module]
