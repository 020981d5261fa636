"""What failures of one cause have in common: their error without ids and numbers."""

import re
from typing import Final

MAX_SIGNATURE: Final = 300
_UUID: Final = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE
)
_HEX: Final = re.compile(r"\b(?:0x[0-9a-f]+|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,})\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_SPACE: Final = re.compile(r"\s+")
_LONGEST: Final = 1000  # characters of an error that are looked at


def signature_of(
    *,
    reason: str,
    participant: str | None,
    step: str | None,
    error: str | None,
    saga_id: str | None,
) -> str:
    """One line to group by, at most 300 characters: `reason participant step: masked error`."""
    where = " ".join(filter(None, (reason, participant, step)))
    what = masked(error, saga_id) if error else ""
    line = f"{where}: {what}" if what else where
    return line if len(line) <= MAX_SIGNATURE else f"{line[: MAX_SIGNATURE - 1]}…"


def masked(error: str, saga_id: str | None = None) -> str:
    """The error without what differs from one saga to the next."""
    text = error[:_LONGEST]
    if saga_id:
        text = text.replace(saga_id, "<saga>")
    text = _UUID.sub("<uuid>", text)
    text = _HEX.sub("<hex>", text)
    text = _NUMBER.sub("<n>", text)
    return _SPACE.sub(" ", text).strip()
