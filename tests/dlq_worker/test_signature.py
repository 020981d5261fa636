"""Errors of one cause have one signature."""

import pytest

from dlq_worker.signature import MAX_SIGNATURE, masked, signature_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("gateway 17 said 503", "gateway <n> said <n>"),
        ("charge 3f1c9a2e-5b1d-4b6a-9c7e-0123456789ab gone", "charge <uuid> gone"),
        ("at 0x7f3a2c", "at <hex>"),
        ("commit deadbeef12 is missing", "commit <hex> is missing"),
        ("order-42: took 1.5 s at 12:30", "order-<n>: took <n> s at <n>"),
        ("  two\n lines\t", "two lines"),
        ("face the facade", "face the facade"),
        ("saga-of-anna is closed", "<saga> is closed"),
        ("", ""),
    ],
)
def test_ids_and_numbers_are_masked(error: str, expected: str) -> None:
    assert masked(error, "saga-of-anna") == expected


def test_two_sagas_of_one_cause_share_a_signature() -> None:
    lines = {
        signature_of(
            reason="compensation_exhausted",
            participant="PaymentService",
            step="pay",
            error=f"refund of {saga_id} failed after {n} ms",
            saga_id=saga_id,
        )
        for n, saga_id in enumerate(["order-a", "order-b", "x"])
    }
    assert lines == {
        "compensation_exhausted PaymentService pay: refund of <saga> failed after <n> ms"
    }


def test_a_signature_is_one_short_line_whatever_the_error() -> None:
    error = "é" * 100_000 + "\n" + "f0" * 100_000
    line = signature_of(reason="r", participant=None, step=None, error=error, saga_id=None)
    assert len(line) <= MAX_SIGNATURE
    assert "\n" not in line


def test_without_an_error_the_place_is_the_signature() -> None:
    line = signature_of(reason="bad_json", participant=None, step=None, error=None, saga_id=None)
    assert line == "bad_json"
