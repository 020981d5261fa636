"""A long run of mixed sagas under faults, and whether anything grows: `python -m tests.soak`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `servers`, as under pytest
