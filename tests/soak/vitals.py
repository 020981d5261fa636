"""What a process holds, read off /proc: memory, handles, threads, connections."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Of one process at one moment. `connections` counts them by the port of the other side."""

    resident: int  # bytes
    handles: int
    threads: int
    connections: Mapping[int, int]


def vitals_of(pid: int) -> Vitals | None:
    """None if there is no such process any more."""
    try:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        handles = list(_handles(pid))
        sockets = _sockets(pid)
    except OSError:
        return None
    if "VmRSS" not in fields:  # it has just died
        return None
    ports: dict[int, int] = {}
    for handle in handles:
        if (port := sockets.get(handle)) is not None:
            ports[port] = ports.get(port, 0) + 1
    return Vitals(
        resident=int(fields["VmRSS"].split()[0]) * 1024,
        handles=len(handles),
        threads=int(fields["Threads"]),
        connections=ports,
    )


def _handles(pid: int) -> Iterator[str]:
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield handle.readlink().name


def _sockets(pid: int) -> Mapping[str, int]:
    """The other side's port of every established connection in the process's network."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return {
        f"socket:[{columns[9]}]": int(columns[2].rpartition(":")[2], 16)
        for columns in map(str.split, lines)
        if columns[3] == _ESTABLISHED
    }


def size_of(folder: Path) -> int:
    """Bytes of all files under it; they may come and go meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total
