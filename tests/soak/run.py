"""One soak, from the first start of a daemon to the verdict."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.product.installation import wait_for
from tests.product.listeners import listen
from tests.soak.checker import Verdict, audited
from tests.soak.faults import drawn
from tests.soak.flatness import Measure, measures
from tests.soak.nemesis import Nemesis, Played
from tests.soak.orders import mixed_orders
from tests.soak.quiet import Attendance, attendance, settle
from tests.soak.samples import Sample, Sampler
from tests.soak.site import Background, Site, open_site
from tests.soak.stories import write_stories
from tests.soak.stream import Stream

START_SECONDS = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much, and of what. The seed decides orders, faults and their details."""

    sagas: int
    faults: int
    seed: int
    window: int
    """Sagas under way at a time."""
    folder: Path
    """Logs, samples and stories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What a soak has shown."""

    wanted: Wanted
    verdict: Verdict
    played: Sequence[Played]
    samples: Sequence[Sample]
    """The last one is of the quiet after the end."""
    steady: Sequence[str]
    measures: Sequence[Measure]
    before: Attendance
    after: Attendance
    seconds: float
    recovery_seconds: float
    retries: int
    """Starts asked for again because it was not sure that they had arrived."""
    versions: Mapping[str, str]
    problems: Sequence[str]
    """Of the daemons and of the end, beside those of the sagas."""


def soak(wanted: Wanted) -> Soak:
    """Raises what has ended it before its time; logs and stories are in the folder."""
    try:
        return _on_a_site(wanted)
    except BaseException as error:
        error.__notes__ = [f"logs are in {wanted.folder}"]  # not the logs themselves
        raise


def _on_a_site(wanted: Wanted) -> Soak:
    with open_site(wanted.folder) as site:
        site.heal()  # all start at once, which takes its time on a small machine
        wait_for(
            lambda: all(daemon.is_ready() for daemon in site.installation.daemons),
            "all are ready",
            seconds=START_SECONDS,
        )
        asyncio.run(listen(site.place))
        orders = mixed_orders(wanted.seed)
        stream = Stream(site.place, orders, count=wanted.sagas, window=wanted.window)
        background = Background()
        try:
            return _soaked(wanted, site, stream, background)
        finally:
            background.close()  # with the stream, if it still runs


def _soaked(wanted: Wanted, site: Site, stream: Stream, background: Background) -> Soak:
    began_at = time.monotonic()
    before = attendance(site)
    sampler = Sampler(
        site=site, stream=stream, path=wanted.folder / "samples.jsonl", began_at=began_at
    )
    streaming = background.start(stream.run())
    nemesis = Nemesis(
        site=site,
        stream=stream,
        streaming=streaming,
        cards=drawn(wanted.seed, wanted.faults),
        count=wanted.faults,
        began_at=began_at,
    )
    try:
        with sampler.running():
            nemesis.run()
            recovery, in_vain = settle(site, stream, streaming)
        seconds = time.monotonic() - began_at
        verdict = _verdict(wanted, site, stream)
    except BaseException:
        write_stories(site.place, wanted.folder, None)
        raise
    with suppress(AssertionError):  # the report tells
        wait_for(lambda: attendance(site) == before, "everybody is connected as at the beginning")
    sampler.take(is_full=True)
    return Soak(
        wanted=wanted,
        verdict=verdict,
        played=nemesis.played,
        samples=sampler.samples,
        steady=[daemon.name for daemon in site.steady],
        measures=list(measures(sampler.samples, wanted.sagas, [each.name for each in site.steady])),
        before=before,
        after=attendance(site),
        seconds=seconds,
        recovery_seconds=recovery,
        retries=stream.retries,
        problems=[*nemesis.problems, *in_vain],
        versions={
            server.name: server.description.split()[0] for server in (site.rabbit, site.postgres)
        },
    )


def _verdict(wanted: Wanted, site: Site, stream: Stream) -> Verdict:
    asked = islice(mixed_orders(wanted.seed), stream.started)
    verdict = audited(site.place, asked, stream.outcomes.told)
    if verdict.findings:
        write_stories(site.place, wanted.folder, verdict)
    return verdict
