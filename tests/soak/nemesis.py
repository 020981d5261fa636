"""Plays the drawn faults, evenly over the whole stream, and writes down each."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import psycopg
from servers.private import ServerFailed

from tests.soak.faults import Card, died
from tests.soak.site import Site
from tests.soak.stream import Stream, Way

_TROUBLE = (AssertionError, subprocess.SubprocessError, ServerFailed, psycopg.Error)
_AHEAD = 2  # so many faults' share of sagas the stream may be ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A fault that was played: when, after how many starts, and for how long."""

    at: float  # seconds since the soak began
    started: int
    fault: str
    told: str
    seconds: float


@dataclass(slots=True, kw_only=True)
class Nemesis:
    """Its `run` blocks until every card is played."""

    site: Site
    stream: Stream
    streaming: Future[None]
    cards: Iterator[Card]
    count: int
    began_at: float
    played: list[Played] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What did not go as it has to while a fault was played. The soak goes on."""

    def run(self) -> None:
        share = self.stream.count / (self.count + 1)
        for number, card in enumerate(self.cards, 1):
            self.stream.allowed = int(share * (number + _AHEAD))
            self._wait_for(int(share * number))
            self._play(card)
        self.stream.allowed = self.stream.count

    def _wait_for(self, started: int) -> None:
        """Raises what has ended the stream, or that it stands still."""
        way = Way(self.stream)
        while self.stream.started < started:
            if self.streaming.done():
                self.streaming.result()
            way.go_on()
            time.sleep(0.05)

    def _play(self, card: Card) -> None:
        begun, started = time.monotonic(), self.stream.started
        told = self._told(card)
        self.played.append(
            Played(
                at=round(begun - self.began_at, 1),
                started=started,
                fault=card.fault.name,
                told=told,
                seconds=round(time.monotonic() - begun, 1),
            )
        )
        for daemon in died(self.site):
            self.problems.append(f"{daemon.name} has ended with exit code {daemon.exit_code}")
            daemon.start()
        print(f"{self.played[-1].at:7.1f} s  {started:6}  {card.fault.name}: {told}", flush=True)

    def _told(self, card: Card) -> str:
        try:
            return card.play(self.site)
        except _TROUBLE as error:
            self.problems.append(f"{card.fault.name}: {error}")
            self.site.heal()
            return f"failed: {error}"
