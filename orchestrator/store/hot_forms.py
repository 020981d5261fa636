"""What is written at every move, spelled out: a third of what `forms` takes for the same text."""

from json.encoder import encode_basestring as quoted

from orchestrator.saga.state import Outbound, Step
from orchestrator.saga.written import json_of
from orchestrator.store.forms import moment_text


def step_text(step: Step) -> str:  # noqa: C901, PLR0912  # one line for each field
    """As `forms.STEP` writes it."""
    text = f'{{"status":"{step.status}"'
    if step.attempts:
        text += f',"attempts":{step.attempts}'
    if step.compensation_attempts:
        text += f',"compensation_attempts":{step.compensation_attempts}'
    if step.forgiven:
        text += f',"forgiven":{step.forgiven}'
    if step.effect_unknown:
        text += ',"effect_unknown":true'
    if step.result is not None:
        text += f',"result":{json_of(step.result)}'
    if step.error is not None:
        text += f',"error":{quoted(step.error)}'
    if step.deadline is not None:
        text += f',"deadline":{moment_text(step.deadline)}'
    if step.retry_at is not None:
        text += f',"retry_at":{moment_text(step.retry_at)}'
    if step.unroutable:
        text += ',"unroutable":true'
    if step.started_at is not None:
        text += f',"started_at":{moment_text(step.started_at)}'
    if step.completed_at is not None:
        text += f',"completed_at":{moment_text(step.completed_at)}'
    if step.compensation_started_at is not None:
        text += f',"compensation_started_at":{moment_text(step.compensation_started_at)}'
    if step.compensated_at is not None:
        text += f',"compensated_at":{moment_text(step.compensated_at)}'
    return f"{text}}}"


def outbound_text(owed: Outbound) -> str:
    """As `forms.OUTBOUND` writes it."""
    text = f'{{"kind":"{owed.kind}","destination":{quoted(owed.destination)}'
    text += f',"body":{quoted(owed.body)}'
    if owed.cause is not None:
        text += f',"cause":{quoted(owed.cause)}'
    if owed.step is not None:
        text += f',"step":{quoted(owed.step)}'
    if owed.direction is not None:
        text += f',"direction":"{owed.direction}"'
    if owed.attempt is not None:
        text += f',"attempt":{owed.attempt}'
    if owed.deadline is not None:
        text += f',"deadline":{moment_text(owed.deadline)}'
    if owed.reason is not None:
        text += f',"reason":{quoted(owed.reason)}'
    if owed.error is not None:
        text += f',"error":{quoted(owed.error)}'
    return f"{text}}}"
