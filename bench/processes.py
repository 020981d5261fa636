"""What processes have used, read off /proc: CPU of whole families, peak memory."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one or several families of processes since they began."""

    cpu: float  # seconds
    peak: int  # bytes, the sum of each process's own peak; shared memory counts each time


Families = Mapping[str, list[int]]  # process ids by what they are


def usage_of(families: Families) -> dict[str, Usage]:
    """Of these families; and of this process without its children as the driver, unless another
    one is."""
    driver = Usage(cpu=time.process_time(), peak=_peak(os.getpid()))
    return {"driver": driver} | {name: _usage(pids) for name, pids in families.items()}


def listener_on(port: int) -> int | None:
    """The process on this machine that listens on that TCP port; None if it is not to be seen.

    Of several that share the socket, the one from which the others come.
    """
    inodes = set(_listening_inodes(port))
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    holders = {int(folder.name) for folder in folders if inodes & set(_sockets(folder))}
    eldest = [pid for pid in holders if _parent(pid) not in holders]
    return eldest[0] if eldest else None


def _usage(pids: list[int]) -> Usage:
    family = {each for pid in pids for each in (pid, *_descendants(pid))}
    return Usage(cpu=sum(map(_cpu, family)), peak=sum(map(_peak, family)))


def _cpu(pid: int) -> float:
    """Its own, and that of children that have ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    [found] = [line for line in lines if line.startswith("VmHWM:")] or ["VmHWM: 0 kB"]
    return int(found.split()[1]) * 1024


def _descendants(pid: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(each) for path in threads for each in _children(path)]
    except OSError:
        return
    for child in children:
        yield child
        yield from _descendants(child)


def _children(thread: Path) -> list[str]:
    return (thread / "children").read_text().split()


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _sockets(folder: Path) -> Iterator[str]:
    try:
        for handle in (folder / "fd").iterdir():
            target = handle.readlink().name
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:  # not ours to see, or it has ended
        return
