"""Draw passwords for compose.yaml and write what has to know them into deploy/secrets/.

`prepare.py` needs nothing but Python. Passwords that are there stay, and what follows from them
is written anew. `prepare.py --definitions` renews rabbitmq/definitions.json instead: the same
topology and users, without any password.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from messaging.definitions import definitions, grants, password_hash  # noqa: E402  # needs the path
from messaging.topology import Names  # noqa: E402

PARTICIPANTS: Final = (
    "InventoryService",
    "PaymentService",
    "ShippingService",
    "NotificationService",
)
DATABASE_ROLES: Final = ("postgres", "saga_owner", "saga_app", "order_services")
MAX_QUEUE_BYTES: Final = 1024**3
NAMES: Final = Names()


def main(arguments: list[str]) -> int:
    match arguments:
        case []:
            prepare(HERE / "secrets")
        case ["--definitions"]:
            (HERE / "rabbitmq" / "definitions.json").write_text(rendered({}))
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


def prepare(directory: Path) -> None:
    """Make `directory` complete and consistent.

    It is closed and its files are readable: containers run as other users and are shown the
    files, not the directory.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    users = [grant.user for grant in grants(NAMES, PARTICIPANTS)]
    amqp = {user: _password(directory / f"rabbitmq_{user}_password") for user in users}
    roles = {role: _password(directory / f"{role}_password") for role in DATABASE_ROLES}
    for user, password in amqp.items():
        _write(directory / f"amqp_url_{user}", f"amqp://{user}:{password}@rabbitmq:5672/")
    for name, role, database in (
        ("database_url_owner", "saga_owner", "saga"),
        ("database_url_app", "saga_app", "saga"),
        ("inbox_url", "order_services", "order_services"),
    ):
        _write(directory / name, f"postgresql://{role}:{roles[role]}@postgres:5432/{database}")
    _write(directory / "rabbitmq_definitions", rendered(amqp))


def rendered(passwords: dict[str, str]) -> str:
    """The definitions of the order example for RabbitMQ 4; without passwords, without hashes."""
    hashes = {
        user: password_hash(password, secrets.token_bytes(4))
        for user, password in passwords.items()
    }
    wanted: dict[str, Any] = definitions(
        NAMES, PARTICIPANTS, password_hashes=hashes, max_queue_bytes=MAX_QUEUE_BYTES
    )
    return json.dumps(wanted, indent=2) + "\n"


def _password(path: Path) -> str:
    """The password in the file, drawn if there is none."""
    if not path.exists():
        _write(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text.removesuffix("\n") + "\n")
    path.chmod(0o444)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
