"""What is measured: which sagas, how large, how many at a time, on how many workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.sagas import Messages

CONCURRENCY: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`mixture` names a saga type for each of ten sagas in turn, or for all with one."""

    name: str
    about: str
    mixture: Sequence[str] = ("BenchLine",)
    payload: int = 0  # bytes more in a saga's data
    concurrency: int = CONCURRENCY
    workers: int = 1
    finished: int = 0  # sagas that lie in the tables already
    retention: str = "never"  # how long these are kept: they are 1 to 90 days old

    @property
    def messages(self) -> float:
        """Published for one saga on average, its start and its outcome included."""
        total = sum(Messages.BY_TYPE[each] for each in self.mixture)
        return total / len(self.mixture)

    def type_of(self, number: int) -> str:
        return self.mixture[number % len(self.mixture)]


_BACK, _PARALLEL = ("BenchBack",), ("BenchParallel",)
_MIXTURE: Final = ("BenchLine",) * 7 + ("BenchBack",) + ("BenchParallel",) * 2
LINE: Final = Workload(name="line", about="four durable steps, one after the other")

WORKLOADS: Final[Mapping[str, Workload]] = {
    each.name: each
    for each in (
        LINE,
        Workload(name="back", about="the last of four steps fails: three go back", mixture=_BACK),
        Workload(name="parallel", about="two stages of two parallel steps", mixture=_PARALLEL),
        Workload(name="mixed", about="7 lines, 1 way back, 2 parallel of ten", mixture=_MIXTURE),
        *(
            Workload(name=f"workers-{count}", about=f"{count} orchestrators", workers=count)
            for count in (2, 4)
        ),
        *(
            Workload(
                name=f"payload-{size}k",
                about=f"{size} KiB of data in every command",
                payload=size * 1024,
                concurrency=min(CONCURRENCY, max(20, 1600 // size)),
            )
            for size in (1, 16, 128)
        ),
        *(
            Workload(name=f"at-a-time-{count}", about=f"{count} in flight", concurrency=count)
            for count in (1, 10, 50, 100, 250, 1000)
        ),
    )
}


def grown(finished: int) -> Workload:
    """The main workload, on tables in which so many sagas have ended."""
    about = f"{finished:,} finished sagas in the tables" if finished else "empty tables"
    return Workload(name=f"finished-{finished}", about=about, finished=finished)


def purged(finished: int) -> Workload:
    """The same while these are deleted, as is done in the background with what is too old."""
    about = f"{finished:,} finished sagas in the tables are being deleted"
    name = f"purged-{finished}"
    return Workload(name=name, about=about, finished=finished, retention="12h")
