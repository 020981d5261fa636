"""The keys of what commands print with `-o json`. Stable: new ones may come, none goes."""

from collections.abc import Mapping
from typing import Final

Keys = Mapping[str, str]

_DONE: Final[Keys] = {"id": "the dead letter's number", "message": "what came of it"}
_TOPOLOGY: Final[Keys] = {
    "exchanges": "`name`, `type`",
    "queues": "`name`, `arguments`",
    "bindings": "`exchange`, `routing_key`, `queue`",
}
_LETTER: Final[Keys] = {
    "id": "its number",
    "reason": "one word, such as `compensation_exhausted` or `bad_json`",
    "saga_id": "null if it names none",
    "saga_type": "null if it is not known",
    "step_name": "null if it is about no step",
    "direction": "`action`, `compensation` or null",
    "destination": "the command that could not be carried out, or null",
    "queue": "where it died, or was rejected from; null for those of the orchestrator",
    "error": "what went wrong",
    "signature": "its cause: the error with ids and numbers masked",
    "status": "`open`, `replaying`, `resolved`, `discarded` or `superseded`",
    "replays": "how often it was sent again",
    "next_replay_at": "when the DLQ worker looks at it again, or null",
    "times_seen": "how often it came",
    "first_seen": "when it came first",
    "last_seen": "when it came last",
    "closed_at": "null while it is open",
    "closed_by": "a person, or `dlq worker`",
    "closed_reason": "why",
    "alert": "null, or `id`, `status`, `severity`, `title`, `summary`, `times_sent`, "
    "`created_at`, `last_sent_at`, `acknowledged_by`, `acknowledged_at`",
}
_SAGA: Final[Keys] = {
    "saga_id": "its id",
    "saga_type": "the definition's name",
    "state": "`started`, `pending`, `compensating`, `completed` or `failed`",
    "version": "how many lines its history has",
    "first_failure": "null, or `step` (null if it was cancelled or could not be planned), "
    "`error`, `at`",
    "cancel_reason": "null, or who cancelled it and why",
    "created_at": "when it was started",
    "updated_at": "when it moved last",
    "ended_at": "null until it has ended",
    "wake_at": "when the clock looks at it, or null; in a list it may be earlier than needed",
}

_CHOREOGRAPHY: Final[Keys] = {
    "saga_id": "its id",
    "saga_type": "as the service says that began it; empty if nobody has said",
    "state": "`open`, `completed` or `failed`",
    "is_quiet": "open, and without an event for `quiet_after`",
    "events": "how many were recorded",
    "last_event": "the type of the last one",
    "last_service": "who emitted it, or null",
    "started_at": "when it was started",
    "last_event_at": "when the last one was recorded",
    "quiet_after": "in seconds",
    "ended_at": "null until an event has ended it",
}

LISTED: Final = frozenset(
    {
        *("list", "choreography list", "definitions list", "definitions show"),
        *("dlq list", "dlq groups", "dlq ack", "dlq retry", "dlq resolve", "dlq discard"),
    }
)
"""Commands that print an array of such objects."""

JSON_KEYS: Final[Mapping[str, Keys]] = {
    "drill": {
        "passed": "how many runs kept every rule",
        "broke": "how many did not",
        "not_reached": "how many never came to their fault",
        "cells": "each run: `saga_type`, `example`, `step` (null: the start), `fault`, `told`, "
        "`verdict` (`passed`, `broke` or `not reached`), `broken` (each as `rule`, `found`, "
        "`step`), and null or `mistake`, `mistaken_step`, `cause`, `remedy`; `story`, line by "
        "line. With `--list` the first four only, and no counts",
    },
    "participants verify": {
        "is_kept": "false if there is a problem",
        "findings": "`level` (`ok`, `warning` or `problem`), `destination` (the command), `check` "
        "(what was looked at), `field` (which one is wrong, or null), `detail`",
    },
    "definitions list": {
        "saga_type": "its name",
        "definition": "its module and class",
        "plans": "how many different ones its examples have; 0 if there is none without data",
        "steps": "how many different ones these plans have",
        "participants": "the services that it names",
        "has_examples": "false if it was planned without data",
        "problem": "why there is no plan, or null",
    },
    "definitions show": {
        "saga_type": "its name",
        "title": "which examples have this plan; empty if there is only one",
        "data": "these examples",
        "on_compensation_exhausted": "`halt` or `continue`",
        "steps": "in the order of the plan: `name`, `stage`, `action`, `compensation`, `timeout` "
        "(seconds), `on_timeout`, `retry` and `compensation_retry` (`max_attempts`, `initial`, "
        "`maximum`, `multiplier`, `jitter`), `payload`, `pivot`",
    },
    "definitions validate": {
        "is_valid": "false if there is a problem",
        "findings": "`saga_type` (null if the module cannot be loaded), `module`, `level` (`ok`, "
        "`warning` or `problem`), `detail`",
    },
    "definitions compat": {
        "is_compatible": "false if a finding strands sagas",
        "sagas": "how many are in flight",
        "stranded": "how many of them could not go on",
        "findings": "`kind` (`type_gone`, `cannot_plan`, `participant_gone`, `command_gone`, "
        "`field_missing`, `field_refused`, `field_not_sent`, `plan_changed` or `unreadable`), "
        "`strands` (false: they go on by their stored plan), `saga_type`, `step_name`, "
        "`destination` (the command), `field` (or several, with commas), `detail`, `sagas` (how "
        "many), `examples` (ids)",
    },
    "start": {
        "saga_id": "its id",
        "state": "its state; with `--wait` the last one",
        "has_ended": "with `--wait` only: false if the timeout ran out",
    },
    "wait": {
        "saga_id": "its id",
        "state": "its last state",
        "has_ended": "false if the timeout ran out",
    },
    "cancel": {"saga_id": "its id", "state": "its state now"},
    "list": {
        **_SAGA,
        "is_stuck": "it has not moved although nothing is scheduled to move it",
        "waits_for": "the first of the locks that it waits for, or null",
    },
    "show": {
        **_SAGA,
        "data": "what it was started with, and every result",
        "steps": "in the order of the plan: `name`, `status`, `stage` (those with one number run "
        "in parallel), `action`, `compensation`, `attempts`, `compensation_attempts`, `forgiven` "
        "(attempts before a retry by hand), `error`, `effect_unknown`, `unroutable`, `pivot`, "
        "`result`, `timeout` (seconds), `deadline`, `retry_at`, `started_at`, `completed_at`, "
        "`compensation_started_at`, `compensated_at`, and `commands`: each command that was sent, "
        "as `direction`, `attempt`, `began_at`, `ended_at`, `outcome`, `error`",
        "history": "every transition: `version`, `at`, `step` (null: the saga's own state), "
        "`from`, `to`, `cause` (a message, `clock` or `operator`), `actor`, `attempt`, `note`, "
        "`error`",
        "on_exhausted": "`halt` or `continue`",
        "owes": "destinations of the messages that may have to be sent again",
        "traceparent": "the trace it belongs to, or null",
        "locks": "what it holds or waits for: `name`, `is_held`, `since`, `holder` (while it "
        "waits), `ahead` (how many others wait before it)",
        "next": "what it waits for: `waiting_for` (`lock`, `plan`, `reply`, `queue`, `attempt`, "
        "`replay`, `person` or `orchestrator`), `step`, `at`, `text`; empty when it has ended",
        "dead_letters": "as `saga dlq list` has them, closed ones as well",
    },
    "reconcile": {
        "findings": "each as `kind` (`in_doubt`, `ended_before`, `stale_letters`, `unknown_saga`, "
        "`effect_stands` or `effect_missing`), `saga_id`, `saga_type`, `step_name`, `detail`, "
        "`remedy`, `is_safe` (`--repair` does it), `is_repaired`, `dead_letters` (their numbers)",
        "judged": "with `--nothing-lost` or `--all-in-doubt`: of how many sagas; else null",
    },
    "choreography list": _CHOREOGRAPHY,
    "choreography show": {
        **_CHOREOGRAPHY,
        "story": "every event below its cause: `event_id`, `type`, `service`, `cause` (an event's "
        "id, or null), `ends` (`completed`, `failed` or null), `at`, `times_seen`, `body_bytes`, "
        "`data`, `depth`, `gap` (what is missing, or null)",
        "replays": "what was sent again: `event_id`, `at`, `by`, `reason`, `sent_at` (or null)",
    },
    "choreography replay": {
        "saga_id": "its id",
        "events": "those that are sent again, as in `choreography show`",
    },
    "dlq list": _LETTER,
    "dlq groups": {
        "signature": "the cause",
        "reason": "one word",
        "letters": "how many dead letters",
        "sagas": "of how many sagas",
        "first_seen": "the first of them",
        "last_seen": "the last of them",
        "example_id": "the number of the latest one",
    },
    "dlq show": {
        **_LETTER,
        "routing_key": "by which it came to the dead letters",
        "attempt": "of the command, or null",
        "headers": "of the message",
        "properties": "of the message",
        "body": "its text, as far as it was kept",
        "body_bytes": "its full size",
        "actions": "what was done about it: `at`, `action`, `by`, `reason`",
    },
    "dlq ack": _DONE,
    "dlq retry": _DONE,
    "dlq resolve": _DONE,
    "dlq discard": _DONE,
    "db upgrade": {"before": "the revision before, or null", "revision": "the revision now"},
    "db current": {
        "revision": "the database's, or null",
        "needed": "what this release needs",
        "is_behind": "true if the database must be upgraded",
    },
    "db purge": {
        "is_dry_run": "true if it was only counted; no count goes beyond 100000 then",
        "completed": "how many completed sagas were deleted, or would be",
        "failed": "how many failed sagas",
        "dead_letters": "how many closed dead letters",
        "alerts": "how many closed alerts",
        "lines": "of history, actions and deliveries that went with them; null for a dry run",
        "kept": "sagas that are old enough and stay: dead letters or alerts of theirs are open",
        "is_all": "false if `--limit` was reached before the end",
        "completed_older_than": "in seconds, or null: completed sagas are kept for ever",
        "failed_older_than": "in seconds, or null: failed sagas and letters are kept for ever",
    },
    "topology show": _TOPOLOGY,
    "topology declare": _TOPOLOGY,
    "topology verify": {
        "is_as_it_should_be": "true or false",
        "differences": "one sentence for each",
    },
    "doctor": {
        "is_healthy": "false if there is a problem",
        "checks": "`check`, `level` (`ok`, `warning` or `problem`), `detail`, `remedy` (or null)",
    },
}
