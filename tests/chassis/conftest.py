"""An empty environment to put settings in."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No settings at all, and a fresh current directory (`tmp_path`)."""
    for name in list(os.environ):
        if name.startswith("SAGA_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch
