"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from chassis.reference import main, metrics_page, settings_page
from chassis.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("page", ["settings", "metrics"])
def test_a_page_has_not_drifted(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([page]) == 0
    generated = capsys.readouterr().out
    remedy = f"run `python -m chassis.reference {page} > docs/reference/{page}.md`"
    assert (REFERENCE / f"{page}.md").read_text() == generated, remedy


def test_every_setting_is_explained() -> None:
    def classes(parent: type[Settings]) -> list[type[Settings]]:
        return [parent, *(cls for child in parent.__subclasses__() for cls in classes(child))]

    for settings_class in classes(Settings):
        for name, field in settings_class.model_fields.items():
            assert field.description, f"{settings_class.__name__}.{name} has no description"
            assert f"`SAGA_{name.upper()}`" in settings_page()


def test_the_page_of_metrics_shows_buckets() -> None:
    assert "- `saga_batch_size`: 1, 2, 5," in metrics_page()


def test_an_unknown_page_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "settings|metrics" in capsys.readouterr().err
