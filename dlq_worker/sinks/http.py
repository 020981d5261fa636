"""Posting JSON over HTTP with the standard library: no redirects, no other schemes."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from chassis.version import version
from dlq_worker.sinks.lane import Lane
from dlq_worker.sinks.port import SinkFailed

_WORTH_A_RETRY: Final = frozenset({408, 425, 429})


class JsonPoster:
    """Posts to one URL. Proxies are taken from the environment, as everywhere."""

    def __init__(self, name: str, url: str, timeout: float) -> None:
        self._lane = Lane(name)
        self._url = url
        self._timeout = timeout
        self._opener = _opener()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raises SinkFailed unless the answer is a success. The URL's path may be a secret."""
        request = urllib.request.Request(  # noqa: S310  # the setting allows http and https only
            self._url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"countermand/{version()}",
                **headers,
            },
            method="POST",
        )
        await self._lane.run(lambda: self._send(request))

    def _send(self, request: urllib.request.Request) -> None:
        host = urlsplit(self._url).hostname
        try:
            with self._opener.open(request, timeout=self._timeout):
                pass
        except urllib.error.HTTPError as error:
            is_final = error.code < 500 and error.code not in _WORTH_A_RETRY
            error.close()
            raise SinkFailed(f"{host} answered {error.code}", is_final=is_final) from None
        except urllib.error.URLError as error:
            raise SinkFailed(f"{host} is out of reach: {error.reason}") from None
        except (OSError, ValueError, EOFError) as error:
            raise SinkFailed(f"{host} is out of reach: {type(error).__name__}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn our POST into a GET, or carry it to who knows where."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _NoRedirect(),
    ):
        opener.add_handler(handler)
    return opener
