"""What the targets are tried with: good messages, mutated where it hurts, and pure noise."""

from typing import Any, Final

from hypothesis import strategies as st

from messaging.contract import ReplyType, StartType
from messaging.port import Delivery
from tests.corpus import QUEUES, entries

ANY_TEXT: Final = st.text(st.characters(codec=None), max_size=40)
HUGE: Final = st.builds(lambda: 10**5000)  # more digits than Python writes
TOKENS: Final = st.sampled_from(
    [
        *(b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"\\u0000", b"\\ud800", b"\\udc00"),
        *(b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"NaN", b"-Infinity"),
        *(b"1e400", b"-0", b"9223372036854775809", b"9" * 30, b"9" * 4400, b"[" * 40, b"]" * 40),
        *(b'{"a":' * 33, b"null", b"true", b'"saga_id"', b'"step_name"', b'"result"', b'"data"'),
        *(b"\r\n", b"\x1b[31m", "\u202e".encode(), b"//", b"/*", b"'", b"0x1", b".5", b"1."),
    ]
)
_SMALL: Final = 2000  # bytes of an entry that is worth being mutated
GOOD_BODIES: Final = tuple(
    sorted({entry.body for queue in QUEUES for entry in entries(queue) if len(entry.body) < _SMALL})
)


@st.composite
def mutated(draw: st.DrawFn, contents: st.SearchStrategy[bytes], most: int = 5) -> bytes:
    """Some bytes replaced by tokens, noise, copies of other parts, or by nothing."""
    content = draw(contents)
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 12)))
        other = draw(st.integers(0, len(content)))
        piece = draw(TOKENS | st.binary(max_size=4) | st.just(content[other : other + 30]))
        content = content[:start] + piece + content[end:]
    return content


BODIES: Final = (
    mutated(st.sampled_from(GOOD_BODIES))
    | mutated(st.lists(TOKENS, max_size=12).map(b"".join))
    | st.binary(max_size=60)
)

HEADER_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.binary(max_size=9)
    | st.datetimes()
    | st.sampled_from(["action", "compensation", "2030-01-01T00:00:00Z", "1", "x" * 300])
    | st.sampled_from([1, 2, 1_000_000, 1_000_001]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            *("saga-type", "saga-direction", "saga-command-id", "saga-attempt", "saga-deadline"),
            *("saga-step", "saga-reason", "saga-error", "saga-destination", "saga-body-size"),
            *("saga-first-message-id", "saga-original-message-id", "saga-original-type"),
            *("traceparent", "x-death", "x-last-death-reason", "x-first-death-reason", "CC"),
        ]
    )
    | ANY_TEXT,
    HEADER_VALUES,
    max_size=8,
)
KINDS: Final = st.sampled_from(
    [*ReplyType, *StartType, "InventoryService.ReserveItems", "A.B", "", "nonsense"]
)
ROUTING_KEYS: Final = st.sampled_from(
    [
        *("compensation", "forward", "late_success", "saga.starts", "saga.replies", "saga.dead"),
        *("saga.commands.InventoryService", "rejected.saga.starts", "rejected.saga.replies"),
        *("rejected.saga.commands.InventoryService", "rejected.", "saga.commands."),
    ]
)
QUEUE_NAMES: Final = st.sampled_from(
    ["saga.starts", "saga.replies", "saga.commands.InventoryService", "saga.dead-letters"]
)


def deliveries(bodies: st.SearchStrategy[bytes] = BODIES) -> st.SearchStrategy[Delivery]:
    """Arrivals in which anything may be anything that the decoders of frames can make."""
    texts: dict[str, Any] = {
        name: st.none() | ANY_TEXT
        for name in ("message_id", "correlation_id", "app_id", "user_id", "content_encoding")
    }
    json = st.just("application/json")
    return st.builds(
        Delivery,
        queue=QUEUE_NAMES,
        exchange=ANY_TEXT,
        routing_key=KINDS | ROUTING_KEYS | ANY_TEXT,
        body=bodies,
        tag=st.just(1),
        session=st.just(1),
        redelivered=st.booleans(),
        type=st.none() | KINDS | ANY_TEXT,
        content_type=st.none() | json | json | ANY_TEXT,
        timestamp=st.none() | st.datetimes(timezones=st.timezones()),
        headers=HEADERS,
        **{**texts, "content_encoding": st.none() | st.just("identity") | ANY_TEXT},
    )


DELIVERIES: Final = deliveries()
