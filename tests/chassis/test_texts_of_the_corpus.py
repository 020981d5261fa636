"""Hostile texts as data: wherever they are written they stay texts, on one line."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from chassis import logs
from chassis.fact_lines import FactLog
from chassis.facts import MessageRejected
from dlq_worker.storable import storable_json, storable_text
from messaging.texts import escaped, within
from orchestrator.cli.wording import clean
from tests.corpus.files import load, text_of

CORPUS = load("texts")
MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._TALKATIVE}
    yield
    root.handlers, root.level = handlers, level
    for name, earlier in levels.items():
        logging.getLogger(name).setLevel(earlier)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_hostile_text_is_one_line_of_the_log(spec: dict[str, Any], log_format: str) -> None:
    text, stream = text_of(spec["text"]), io.StringIO()
    logs.configure(log_format=log_format, stream=stream)
    FactLog()(MessageRejected(queue=text, reason=text, detail=text, message_id=text))
    logging.getLogger("theirs").warning("said %s", text[:1000])
    first, second = stream.getvalue().splitlines()
    assert first.isprintable()
    assert second.isprintable()
    assert len(first) < 20_000
    assert stream.getvalue().encode()


@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_hostile_text_is_stored_and_shown_as_it_can_be(spec: dict[str, Any]) -> None:
    text = text_of(spec["text"])
    assert escaped(text, 255).isprintable()
    assert len(within(text, 4096).encode()) <= 4096
    assert clean(text).isprintable() or clean(text).splitlines() != [clean(text)]
    assert "\0" not in storable_text(text)
    assert len(storable_text(text)) <= 4096
    stored = json.dumps(storable_json({text: [text, {text: text}]}), ensure_ascii=False)
    assert "\\u0000" not in stored
    assert len(stored.encode()) < MEGABYTE
