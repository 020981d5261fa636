"""Errors, sorted by who can act on them."""


class SagaError(Exception):
    """The family of everything that Countermand raises on purpose."""


class DefinitionError(SagaError):
    """The author can act: a saga or participant definition is wrong."""


class ConfigurationError(SagaError):
    """Whoever runs the program can act: a setting, the schema or the topology is wrong."""


class ProtocolError(SagaError):
    """The peer can act: a message breaks the contract, and retrying it is useless.

    `reason` is one word for headers, metrics and dead letters, such as `bad_json`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(SagaError):
    """Nobody can act: the broker or the database is out of reach. Wait."""


class Conflict(SagaError):
    """Nobody needs to act: somebody else was faster. Load again."""


class Refused(SagaError):
    """The caller can act: what was asked for is not possible in this state."""


class NotFound(SagaError):
    """The caller can act: there is nothing by that name. In a compensation: already undone."""
