"""Certificates for tests, made with `openssl`, of any validity."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[leaf]
subjectAltName = IP:127.0.0.1,DNS:localhost
"""


class Authority:
    """Signs certificates for 127.0.0.1. `certificate` is what peers have to trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self._config = self._folder / "openssl.cnf"
        self._config.write_text(_CONFIG.format(folder=self._folder))
        (self._folder / "index").touch()
        (self._folder / "serial").write_text("01\n")
        self._key, self.certificate = self._folder / "ca.key", self._folder / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, to: Path, name: str, *, valid: timedelta) -> None:
        """Write `NAME.key` and `NAME.pem` into the folder `to`, in place of older ones."""
        request, key, certificate = (to / f"{name}.{kind}" for kind in ("csr", "key", "pem"))
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", key, "-out", request),
        )
        now = datetime.now(UTC)
        self._openssl(
            *("ca", "-batch", "-notext", "-in", request, "-out", certificate),
            *("-cert", self.certificate, "-keyfile", self._key, "-extensions", "leaf"),
            *("-startdate", _moment(now - timedelta(hours=1)), "-enddate", _moment(now + valid)),
        )
        key.chmod(0o600)

    def _openssl(self, *arguments: str | Path) -> None:
        command, *rest = map(str, arguments)
        subprocess.run(
            ["openssl", command, "-config", str(self._config), *rest],
            check=True,
            capture_output=True,
            text=True,
        )


def _moment(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%SZ")
