"""Certificates of broker and daemons run out and are replaced, authority and all."""

import shutil
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from servers.certificates import Authority
from servers.network import free_ports, rabbit_version
from servers.rabbit import PrivateRabbit

from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World

LONG, SHORT = timedelta(days=1), timedelta(seconds=12)


class SecureRabbit(PrivateRabbit):
    """Speaks TLS, and only to those who show a certificate of the same authority."""

    def __init__(self) -> None:
        self._tls_port = free_ports(1)[0]
        self._generation = 0
        super().__init__()
        self.rotate(valid=LONG)
        self._configure(
            (),
            {
                "listeners.ssl.1": f"127.0.0.1:{self._tls_port}",
                "ssl_options.cacertfile": str(self.folder / "ca.pem"),
                "ssl_options.certfile": str(self.folder / "broker.pem"),
                "ssl_options.keyfile": str(self.folder / "broker.key"),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
            },
        )

    @property
    def folder(self) -> Path:
        return self.directory / "tls"

    @property
    def url(self) -> str:
        parts = {"cafile": "ca.pem", "certfile": "daemon.pem", "keyfile": "daemon.key"}
        files = "&".join(f"{name}={quote(str(self.folder / file))}" for name, file in parts.items())
        return f"amqps://test:{self._password}@127.0.0.1:{self._tls_port}/?{files}"

    def _answers(self) -> bool:
        """As its neighbours ask it; over TLS it answers nobody without a certificate."""
        return rabbit_version(super().url) is not None

    def rotate(self, *, valid: timedelta) -> None:
        """A new authority, and of it new certificates for the broker and for all daemons."""
        self.folder.mkdir(exist_ok=True)
        self._generation += 1
        authority = Authority(self.folder, f"authority-{self._generation}")
        for name in ("broker", "daemon"):
            authority.issue(self.folder, name, valid=valid)
        shutil.copyfile(authority.certificate, self.folder / "ca.pem")
        if self.is_running():
            self.rabbitmqctl("eval", "ssl:clear_pem_cache().")


@scenario(
    60,
    "tls-rotation",
    "certificates run out; 8 s later there are new ones of a new authority",
    needs=Needs(rabbit=SecureRabbit),
)
def rotation(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        world.play(f"certificates of {SHORT}", lambda: world.rabbit.rotate(valid=SHORT))
        world.broker_wire.cut()
        world.last(SHORT.total_seconds() + 1)
        world.broker_wire.cut()
        world.last(8)
        ready = [each.name for each in world.installation.daemons if each.is_ready()]
        assert ready == [], f"{ready} took a certificate that has run out"
        world.mend("a new authority", lambda: world.rabbit.rotate(valid=LONG))
        world.wait_ready()
