"""A whole benchmark, small: real daemons, real servers, every saga accounted for."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_fifty_sagas_are_measured_and_accounted_for(
    amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    page = tmp_path / "performance.md"
    page.write_text((ROOT / "docs" / "performance.md").read_text())
    small = ["--rounds", "1", "--sagas", "50", "--concurrency", "12", "--lone", "3"]
    small += ["--warm-up", "0.2", "--folder", str(tmp_path), "--report", str(page)]
    who = ["--only", "null-codec,countermand,countermand-sdk", "--workloads", "mixed"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *small, *who],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads((tmp_path / "performance.json").read_text())["mixed"]["runs"]
    assert [run["contestant"] for run in runs] == ["null-codec", "countermand", "countermand-sdk"]
    assert all(run["measured"]["sagas"] >= 50 for run in runs)
    assert "| countermand-sdk |" in page.read_text()
