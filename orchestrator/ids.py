"""What tells one start from another: its saga id, drawn or computed, and its input's digest."""

import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def new_saga_id() -> str:
    """A fresh id that sorts by the time of its drawing."""
    return _uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))


def saga_id_for(message_identity: str, sent_at: datetime | None) -> str:
    """The id for a start without one: the same again when the message comes again."""
    milliseconds = int(sent_at.timestamp() * 1000) if sent_at else 0
    digest = hashlib.sha256(message_identity.encode("utf-8", "backslashreplace")).digest()
    return _uuid7(milliseconds, int.from_bytes(digest[:10], "big"))


def digest_of(saga_type: str, data: Mapping[str, Any]) -> str:
    """What makes two starts the same: their type and data, however the keys are ordered."""
    return hashlib.sha256(_canonical([saga_type, data]).encode()).hexdigest()


def _uuid7(milliseconds: int, entropy: int) -> str:
    """RFC 9562 §5.7: 48 bits of time, version, 12 bits, variant, 62 bits."""
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | 0b10 << 62
    high = entropy >> 62 & 0xFFF
    low = entropy & 0x3FFF_FFFF_FFFF_FFFF
    return str(uuid.UUID(int=value | high << 64 | low))
