"""Secret files: what is read, what is refused, and never a hang."""

import os
from pathlib import Path

import pytest

from chassis.secret_files import MAX_BYTES, read_secret
from chassis.settings import Settings, load
from chassis.urls import masked
from messaging.errors import ConfigurationError


def test_one_trailing_newline_is_left_out_and_no_more(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for content, text in (
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        (b" x ", " x "),
    ):
        secret.write_bytes(content)
        assert read_secret(secret) == text


def test_a_symbolic_link_is_followed_as_kubernetes_mounts_secrets(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x\n")
    (tmp_path / "secret").symlink_to(tmp_path / "data")
    assert read_secret(tmp_path / "secret") == "x"


def test_only_regular_files_of_moderate_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    refused = {
        tmp_path / "fifo": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        tmp_path: "regular file|directory",
        tmp_path / "large": "larger than 64 KiB",
        tmp_path / "binary": "not UTF-8",
        tmp_path / "missing": "No such file",
    }
    for path, reason in refused.items():
        with pytest.raises(ConfigurationError, match=reason):
            read_secret(path)


def test_a_file_at_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * MAX_BYTES)
    assert len(read_secret(tmp_path / "secret")) == MAX_BYTES


def test_a_missing_secret_file_is_named_with_its_setting(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_AMQP_URL_FILE", "/nowhere/url")
    environment.setenv("SAGA_NAMESPACE_FILE", "/nowhere/name")
    with pytest.raises(ConfigurationError) as failure:
        load(Settings)
    assert str(failure.value).splitlines() == [
        "SAGA_AMQP_URL: cannot read /nowhere/url: No such file or directory",
        "SAGA_NAMESPACE: cannot read /nowhere/name: No such file or directory",
    ]


def test_a_file_that_nobody_needs_is_not_read(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SAGA_AMQP_URL_FILE", "/nowhere/url")
    environment.setenv("SAGA_AMQP_URL", "amqp://u:p@h/")
    assert load(Settings).amqp_url.get_secret_value() == "amqp://u:p@h/"


def test_a_bad_value_says_which_file_it_came_from(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("amqp://u:hunter2@h/\n\n")
    environment.setenv("SAGA_AMQP_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(ConfigurationError) as failure:
        load(Settings)
    assert str(failure.value).startswith(f"SAGA_AMQP_URL (from {tmp_path / 'url'})=amqp://u:***@h/")
    assert "remove it" in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://u:p@h:5672/v", "amqp://u:***@h:5672/v"),
        ("amqp://u:p@ss/w:rd?@h/v", "amqp://u:***@h/v"),
        (
            "postgresql://u@h/db?password=p&sslmode=require",
            "postgresql://u:***@h/db?password=***&sslmode=require",
        ),
        (
            "postgresql://u:p@h/d?password=p&sslpassword=p&a=b",
            "postgresql://u:***@h/d?password=***&sslpassword=***&a=b",
        ),
        ("sqlite:///saga.sqlite", "sqlite:///saga.sqlite"),
        ("memory://", "memory://"),
        ("host=h password=p", "***"),
        ("u:p@h", "***"),
    ],
)
def test_a_masked_url_shows_everything_but_the_password(url: str, shown: str) -> None:
    assert masked(url) == shown
