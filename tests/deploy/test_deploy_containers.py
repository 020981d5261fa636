"""deploy/Dockerfile and deploy/compose.yaml, judged without an engine."""

import importlib
import json
import re
import stat
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from checkers import DEPLOY, ROOT, accepted, prepare_script, program, refused

from chassis.settings import DlqSettings, OrchestratorSettings, ParticipantSettings
from messaging.definitions import DLQ_WORKER, ORCHESTRATOR

DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
COMPOSED: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSED["services"]
IMAGE = "countermand:0.1.0"
PROGRAMS = {name: each for name, each in SERVICES.items() if each["image"] == IMAGE}
DAEMONS = {name: each for name, each in PROGRAMS.items() if "run" in each["command"]}
PARTICIPANTS = {
    name: each for name, each in DAEMONS.items() if each["command"][0] == "participants"
}
SETTINGS = {
    "orchestrator": OrchestratorSettings,
    "participants": ParticipantSettings,
    "dlq": DlqSettings,
}


def _check_compose(file: Path) -> list[str | Path]:
    checker = program("check-jsonschema", "check-jsonschema")
    return [checker, "--builtin-schema", "vendor.compose-spec", file]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    accepted([program("hadolint", "hadolint"), DOCKERFILE])


@pytest.mark.parametrize("file", [COMPOSE, ROOT / "tests/servers/compose.yaml"], ids=str)
def test_a_compose_file_keeps_to_the_specification(file: Path) -> None:
    accepted(_check_compose(file))


def test_the_judge_of_compose_files_finds_a_slip(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("depends_on:", "depend_on:"))
    assert "depend_on" in refused(_check_compose(wrong))


def test_the_image_has_the_packages_and_everything_they_are_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
        *project["project"]["license-files"],
        project["project"]["readme"],
        "pyproject.toml",
        "uv.lock",
    }
    shipped = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert needed <= shipped
    assert {name for name in shipped if not (ROOT / name).exists()} == set()


def test_the_image_runs_as_nobody_in_particular_and_is_told_to_drain() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert [line for line in lines if line.startswith(("USER", "STOPSIGNAL", "ENTRYPOINT"))] == [
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        'ENTRYPOINT ["saga"]',
    ]


def test_the_image_installs_what_is_locked_and_no_tools() -> None:
    syncs = re.findall(r"uv sync (.*)", DOCKERFILE.read_text())
    assert len(syncs) == 2
    assert all("--locked" in each and "--no-dev" in each for each in syncs)


def test_the_images_probe_asks_whether_the_program_lives() -> None:
    probe = re.search(r"HEALTHCHECK.*\\\n\s*CMD (\[.*\])", DOCKERFILE.read_text())
    assert probe
    interpreter, option, code = json.loads(probe[1])
    assert (interpreter, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert "/livez" in code


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_little_beyond_its_work(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert service["mem_limit"]
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_programs_cannot_write_to_their_image_and_have_time_to_drain(name: str) -> None:
    assert PROGRAMS[name]["read_only"] is True
    assert PROGRAMS[name]["stop_grace_period"] == "30s"


def test_the_three_programs_and_all_services_of_the_order_example_run() -> None:
    assert sorted(each["command"][0] for each in DAEMONS.values()) == [
        "dlq",
        "orchestrator",
        *["participants"] * 4,
    ]


def test_the_participants_are_those_of_the_order_example() -> None:
    module = importlib.import_module("participants.examples.order_fulfillment")
    served = {}
    for service in PARTICIPANTS.values():
        path, _, attribute = service["command"][2].partition(":")
        assert path == module.__name__
        served[getattr(module, attribute).name] = _secret(service, "saga_amqp_url")
    assert served == {name: f"amqp_url_{name}" for name in prepare_script().PARTICIPANTS}


@pytest.mark.parametrize("name", DAEMONS)
def test_a_program_gets_settings_that_exist(name: str) -> None:
    service = DAEMONS[name]
    known = {f"SAGA_{field.upper()}" for field in SETTINGS[service["command"][0]].model_fields}
    given = {secret["target"].upper() for secret in service["secrets"]} | set(
        service["environment"]
    )
    assert given - known == set()


@pytest.mark.parametrize("name", DAEMONS)
def test_prometheus_scrapes_a_program_where_it_listens(name: str) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    targets = [
        target
        for job in config["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    assert f"{name}:{DAEMONS[name]['environment']['SAGA_HTTP_PORT']}" in targets


def test_each_program_has_its_own_user_on_the_broker() -> None:
    assert _secret(SERVICES["orchestrator"], "saga_amqp_url") == f"amqp_url_{ORCHESTRATOR}"
    assert _secret(SERVICES["dlq-worker"], "saga_amqp_url") == f"amqp_url_{DLQ_WORKER}"
    used = [_secret(each, "saga_amqp_url") for each in DAEMONS.values()]
    assert len(set(used)) == len(used)


def test_only_the_migration_may_change_tables() -> None:
    owners = [name for name, each in PROGRAMS.items() if "database_url_owner" in json.dumps(each)]
    assert owners == ["migrate"]


def test_every_secret_is_prepared_and_used(tmp_path: Path) -> None:
    prepare_script().prepare(tmp_path / "secrets")
    made = {f"secrets/{file.name}" for file in (tmp_path / "secrets").iterdir()}
    declared = {name: each["file"] for name, each in COMPOSED["secrets"].items()}
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in SERVICES.values()
        for secret in service.get("secrets", [])
    }
    assert set(declared.values()) <= made
    assert set(declared) == used


def test_prepared_secrets_fit_together_and_stay(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    prepare_script().prepare(directory)
    before = {file.name: file.read_text() for file in directory.iterdir()}
    prepare_script().prepare(directory)
    after = {file.name: file.read_text() for file in directory.iterdir()}
    salted = "rabbitmq_definitions"  # its salts are drawn anew
    assert {**before, salted: ""} == {**after, salted: ""}
    assert urlsplit(after["amqp_url_orchestrator"]).password == (
        after["rabbitmq_orchestrator_password"].strip()
    )
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_files_that_containers_mount_are_there() -> None:
    sources = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert sources
    assert [source for source in sources if not (DEPLOY / source).exists()] == []


def _secret(service: dict[str, Any], target: str) -> str:
    return next(str(each["source"]) for each in service["secrets"] if each["target"] == target)
