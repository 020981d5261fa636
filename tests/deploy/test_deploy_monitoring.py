"""deploy/prometheus and deploy/alertmanager, judged by Prometheus' own programs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkers import DEPLOY, ROOT, accepted, program
from pages import anchors_of

from chassis.metric_table import METRICS, Kind

PROMETHEUS = DEPLOY / "prometheus"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yaml"
METRIC = re.compile(r"\bsaga_[a-z_]+")
SELECTOR = re.compile(r"(saga_[a-z_]+)\{([^}]*)\}")

pytestmark = pytest.mark.prometheus


def _promtool() -> str:
    return program("promtool", "prometheus")


def _amtool() -> str:
    return program("amtool", "prometheus-alertmanager")


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _known_metrics() -> Iterator[str]:
    for metric in METRICS:
        yield metric.name
        if metric.kind is Kind.HISTOGRAM:
            yield from (f"{metric.name}_{part}" for part in ("bucket", "count", "sum"))


def _route(*labels: str) -> str:
    command = [_amtool(), "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels]
    return accepted(list(command)).split()[-1]


def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    accepted([_promtool(), "check", "config", PROMETHEUS / "prometheus.yaml"])


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    accepted([_promtool(), "test", "rules", PROMETHEUS / "rules_test.yaml"])


def test_the_rules_tests_can_fail(tmp_path: Path) -> None:
    """Guards the guard: with another threshold the same tests must not pass."""
    for name in ("rules.yaml", "rules_test.yaml"):
        text = (PROMETHEUS / name).read_text()
        (tmp_path / name).write_text(text.replace("< 0.95", "< 0.5"))
    with pytest.raises(AssertionError, match="SagaCompletionRateLow"):
        accepted([_promtool(), "test", "rules", tmp_path / "rules_test.yaml"])


def test_every_alert_is_seen_firing_in_the_rules_tests() -> None:
    tests = (PROMETHEUS / "rules_test.yaml").read_text()
    assert [rule["alert"] for rule in _rules() if rule["alert"] not in tests] == []


def test_the_rules_name_metrics_that_exist() -> None:
    named = {name for rule in _rules() for name in METRIC.findall(rule["expr"])}
    # Labels such as saga_type look like metrics.
    labels = {label for metric in METRICS for label in metric.labels}
    assert named - labels - set(_known_metrics()) == set()


def test_the_rules_select_by_labels_that_exist() -> None:
    labels = {metric.name: {*metric.labels, "job", "instance"} for metric in METRICS}
    for rule in _rules():
        for name, matchers in SELECTOR.findall(rule["expr"]):
            assert set(re.findall(r"(\w+)\s*(?:=|!|~)", matchers)) <= labels[name]


def test_the_rules_and_the_scrape_configuration_mean_the_same_jobs() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())
    jobs = {each["job_name"] for each in config["scrape_configs"]}
    meant = set(re.findall(r'job="([^"]+)"', " ".join(rule["expr"] for rule in _rules())))
    assert meant <= jobs


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


@pytest.mark.skipif(
    not (ROOT / "docs/guides/operating.md").exists(), reason="the operating guide is not there"
)
@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor in anchors_of(ROOT / page)


def test_alertmanager_accepts_its_configuration() -> None:
    accepted([_amtool(), "check-config", ALERTMANAGER])


def test_what_cannot_wait_goes_to_the_one_on_call() -> None:
    assert _route("alertname=SagasStuck", "severity=page") == "on-call"
    assert _route("alertname=SagaBadInput", "severity=ticket") == "tickets"
    assert _route("alertname=unknown") == "tickets"


def test_the_inhibitions_name_alerts_that_exist() -> None:
    rules = yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]
    named = set(re.findall(r"Saga[A-Za-z]+", json.dumps(rules)))
    assert named <= {rule["alert"] for rule in _rules()}
