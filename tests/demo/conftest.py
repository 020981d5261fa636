"""The demo run in this process, and a place for what it leaves behind."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_stories import Told

from orchestrator.demo.command import run_demo

Demo = Callable[..., Told]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which demos of this test keep theirs."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def demo(capsys: pytest.CaptureFixture[str]) -> Demo:
    """Run it in this process."""

    def run(sagas: int, fail: str | None = None, *, as_json: bool = False) -> Told:
        code = run_demo(sagas, fail, as_json)
        said = capsys.readouterr()
        return Told(code=code, out=said.out, err=said.err)

    return run
