"""However narrow a terminal is, no id is cut; however wide a pipe is, nothing is."""

import pytest
from rich.cells import cell_len

from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import rendered

COLUMNS = (
    Column(title="id"),
    Column(title="kind", dropped=1),
    Column(title="moved", dropped=2),
    Column(title="why", is_elastic=True),
)
SAGA = "0199a7c0-6b3e-7d52-9a0c-3f1e5f6a7b8c"
WHY = "the gateway said no, and said it again and again until nobody asked it any more"
ROWS = ((SAGA, "OrderFulfillment", "4 min ago", WHY), ("order-1", "Order", "2 h ago", "no"))


@pytest.mark.parametrize("width", [36, 40, 60, 80, 100, 140, 200])
def test_no_id_is_cut_and_every_word_is_there(width: int) -> None:
    text = rendered(Listing(COLUMNS, ROWS), width=width)
    assert SAGA in text
    assert " ".join(WHY.split()[:3]) in text
    assert WHY.rsplit(maxsplit=1)[-1] in text
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_columns_are_left_out_by_their_rank() -> None:
    assert "MOVED" in rendered(Listing(COLUMNS, ROWS), width=80)
    narrow = rendered(Listing(COLUMNS, ROWS), width=60)
    assert "KIND" in narrow
    assert "MOVED" not in narrow
    assert "KIND" not in rendered(Listing(COLUMNS, ROWS), width=40)


def test_a_short_text_stays_beside_its_row_and_a_long_one_goes_below() -> None:
    lines = rendered(Listing(COLUMNS, ROWS), width=80).splitlines()
    assert lines[0].split() == ["ID", "KIND", "MOVED", "WHY"]
    assert lines[1].endswith("4 min ago")
    assert lines[2].startswith("    the gateway said no")
    assert lines[-1].endswith("2 h ago    no")


def test_where_there_is_room_it_is_one_line_for_each() -> None:
    assert len(rendered(Listing(COLUMNS, ROWS), width=200).splitlines()) == 3


def test_a_missing_value_is_a_dash() -> None:
    assert rendered(Listing(COLUMNS[:2], [(None, "x")]), width=80).splitlines()[1].split() == [
        "-",
        "x",
    ]
