"""Calls the service through Restate's ingress, over connections that stay open."""

import asyncio
import os
from urllib.parse import urlsplit

from closed_loop import with_coroutines

_ADDRESS = urlsplit(os.environ["PEER_INGRESS_URL"])
_BODY = b'"1"'
_REQUEST = (
    b"POST /Line/run HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b"
) % (_ADDRESS.netloc.encode(), len(_BODY), _BODY)
_connections: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}


async def one(number: int) -> None:
    if number not in _connections:
        _connections[number] = await asyncio.open_connection(_ADDRESS.hostname, _ADDRESS.port)
    reader, writer = _connections[number]
    writer.write(_REQUEST)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if b" 200 " not in head[:20] or body != _BODY:
        raise RuntimeError(f"unexpected answer: {head!r} {body!r}")


if __name__ == "__main__":
    with_coroutines(one)
