"""The files of the corpus, and how bytes and texts are written in them.

A text may be a list of parts: texts, `{"repeat": [text, times]}` and `{"base64": bytes}`. Half a
surrogate pair is a byte that was not UTF-8, as Python reads them from its surroundings.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).parent


def load(name: str) -> list[dict[str, Any]]:
    """The entries of `NAME.json` as they are written there."""
    specs: list[dict[str, Any]] = json.loads((_HERE / f"{name}.json").read_text())
    return specs


def bytes_of(text: Any) -> bytes:
    match text:
        case str():
            return text.encode()
        case {"repeat": [str() as part, int() as times]}:
            return part.encode() * times
        case {"base64": str() as encoded}:
            return base64.b64decode(encoded, validate=True)
        case list():
            return b"".join(map(bytes_of, text))
        case _:
            raise ValueError(f"{text!r} is no text, no list of parts, no repeat and no base64")


def text_of(text: Any) -> str:
    """The same as text: half surrogate pairs stay what they are."""
    return text if isinstance(text, str) else bytes_of(text).decode()
