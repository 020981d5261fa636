"""The kinds of values that settings have, and how text becomes one of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from chassis.durations import parse_retention
from chassis.urls import checked_amqp_url, checked_database_url, checked_http_url
from messaging.topology import TopologyMode

_BYTE_ORDER_MARK: Final = "\ufeff"


def checked_text(value: object) -> object:
    """`value` itself, unless it holds what would end in a password that never fits."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and (_BYTE_ORDER_MARK in text or any(map(_is_control, text))):
        raise ValueError("contains a control character or a byte order mark; remove it")
    return value


def _is_control(character: str) -> bool:
    return ord(character) < 32 or 127 <= ord(character) < 160


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _words(value: object) -> object:
    """A list separated by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """`Inventory=inventory,Payment=pay` as a mapping."""
    if not isinstance(value, str):
        return value
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in value.split(","))):
        key, equals, name = (part.strip() for part in item.partition("="))
        if not (key and equals and name):
            raise ValueError("must be a list of pairs: Participant=user,Participant=user")
        if key in pairs:
            raise ValueError(f"names {key} twice")
        pairs[key] = name
    return pairs


def _secret_checked_by(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(check(secret.get_secret_value())))


AmqpUrl = Annotated[SecretStr, _secret_checked_by(checked_amqp_url)]
DatabaseUrl = Annotated[SecretStr, _secret_checked_by(checked_database_url)]
HttpUrl = Annotated[SecretStr, _secret_checked_by(checked_http_url)]  # its path may be a token

Retention = Annotated[timedelta | None, BeforeValidator(parse_retention)]
TopologyChoice = Annotated[TopologyMode, BeforeValidator(_lowered)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(_lowered)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lowered)]

Port = Annotated[int, Field(ge=0, le=65535)]
Prefetch = Annotated[int, Field(ge=1, le=65535)]  # the protocol has 16 bits for it
Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
Users = Annotated[dict[str, str], BeforeValidator(_pairs)]
SecretWords = Annotated[tuple[SecretStr, ...], BeforeValidator(_words)]
