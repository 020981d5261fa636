"""What happened in a run, in order, with virtual times: the same seed tells the same story."""

from collections.abc import Callable, Collection


class Story:
    """Lines, each about one saga or about all."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._lines: list[tuple[float, str | None, str]] = []

    def tell(self, text: str, saga_id: str | None = None) -> None:
        self._lines.append((self._seconds(), saga_id, text))

    def of(self, saga_ids: Collection[str]) -> str:
        """What these sagas and everybody else have been through."""
        wanted = [line for line in self._lines if line[1] is None or line[1] in saga_ids]
        return "".join(f"{at:10.3f}  {_about(saga_id)}{text}\n" for at, saga_id, text in wanted)

    def whole(self) -> str:
        return self.of({line[1] for line in self._lines if line[1] is not None})


def _about(saga_id: str | None) -> str:
    return f"[{saga_id}] " if saga_id else ""
