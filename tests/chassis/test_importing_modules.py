"""A module that a command line names is imported, or one line says why not."""

import sys
from pathlib import Path

import pytest

from chassis.modules import imported
from messaging.errors import ConfigurationError, DefinitionError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is forgotten afterwards, with its modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_the_current_directory_is_on_the_path(here: Path) -> None:
    (here / "shop_orders.py").write_text("ANSWER = 42")
    assert imported("shop_orders").ANSWER == 42


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def (", "SyntaxError: invalid syntax (shop_orders.py, line 1)"),
        ("import shop_nowhere", "No module named 'shop_nowhere' ("),
        ("from json import nothing", "ImportError: cannot import name 'nothing'"),
        ("first = 1\n{}['key']", "shop_orders.py, line 2)"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines ("),
        ("raise SystemExit(5)", "SystemExit: 5 ("),
    ],
)
def test_whatever_it_raises_is_one_line(source: str, words: str, here: Path) -> None:
    (here / "shop_orders.py").write_text(source)
    with pytest.raises(ConfigurationError) as told:
        imported("shop_orders")
    assert str(told.value).startswith("cannot import 'shop_orders': ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["shop_nowhere", "shop_nowhere.orders", "json.nowhere"])
def test_a_module_that_is_not_there_is_told_apart(name: str, here: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such module"):
        imported(name)


@pytest.mark.parametrize("name", ["shop/orders.py", "./shop/orders.py", "shop/orders"])
def test_a_file_is_called_by_its_module(name: str, here: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"not its file: shop\.orders$"):
        imported(name)


@pytest.mark.parametrize("name", ["", ".orders", "..orders"])
def test_a_name_must_begin_at_the_top(name: str, here: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a module from its top"):
        imported(name)


def test_what_is_raised_on_purpose_passes(here: Path) -> None:
    source = "from messaging.errors import DefinitionError\nraise DefinitionError('two steps')"
    (here / "shop_orders.py").write_text(source)
    with pytest.raises(DefinitionError, match=r"^two steps$"):
        imported("shop_orders")
