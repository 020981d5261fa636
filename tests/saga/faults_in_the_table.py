"""Faults in the table of the rules: one for each of its cells."""

from collections.abc import Iterator
from typing import Final

from saga_rules import Fault

COLUMNS: Final = (
    "SagaStepCompleted",
    "SagaStepFailed",
    "SagaCompensationCompleted",
    "SagaCompensationFailed",
    "its deadline passes",
)
NOWHERE: Final = "out_of_sequence"
# As decide.py has it: what a step is, how the row begins and ends, and the cells in between.
PENDING: Final = (NOWHERE, NOWHERE, NOWHERE, NOWHERE, "None")
EXECUTING: Final = ("completed", "failed", NOWHERE, NOWHERE, "timed_out")
COMPLETED: Final = ("duplicate", "conflict", NOWHERE, NOWHERE, "None")
FAILED: Final = ("late_success", "failed_before", NOWHERE, NOWHERE, "None")
COMPENSATING: Final = (
    "result_kept",
    "late_failure",
    "compensated",
    "compensation_failed",
    "compensation_timed_out",
)
COMPENSATED: Final = ("success_after_undoing", "duplicate", "duplicate", "duplicate", "None")
COMPENSATION_FAILED: Final = ("duplicate", "duplicate", "compensated", "duplicate", "None")

# The row, its cells, and what each of them becomes in turn, with what that means.
WRONG: Final = (
    (
        "PENDING",
        PENDING,
        (
            ("a step that nobody asked for completes", "completed"),
            ("a step that nobody asked for fails", "failed"),
            ("a step that nobody asked for is undone", "compensated"),
            ("the undoing of a step that nobody asked for fails", "compensation_failed"),
        ),
    ),
    (
        "EXECUTING",
        EXECUTING,
        (
            ("a success is only kept", "result_kept"),
            ("a failure is only kept", "late_failure"),
            ("an undoing counts before its action has ended", "compensated"),
            ("a failed undoing counts before its action has ended", "compensation_failed"),
            ("a timeout is overlooked", "None"),
        ),
    ),
    (
        "COMPLETED",
        COMPLETED,
        (
            ("a step completes twice", "completed"),
            ("a completed step fails", "failed"),
            ("a completed step is undone unasked", "compensated"),
            ("a forged failure of an undoing is a mere duplicate", "duplicate"),
        ),
    ),
    (
        "FAILED",
        FAILED,
        (
            ("a late success is ignored", "duplicate"),
            ("every repeated failure is news", "late_failure"),
            ("a failed step is undone unasked", "compensated"),
            ("the undoing of a failed step fails unasked", "compensation_failed"),
        ),
    ),
    (
        "COMPENSATING",
        COMPENSATING,
        (
            ("a success while undoing completes the step", "completed"),
            ("a failure while undoing is not kept", "duplicate"),
            ("an undoing is ignored", "duplicate"),
            ("a failed undoing is ignored", "duplicate"),
            ("the timeout of an undoing is overlooked", "None"),
        ),
    ),
    (
        "COMPENSATED",
        COMPENSATED,
        (
            ("a success after the undoing completes the step", "completed"),
            ("a failure after the undoing is kept", "late_failure"),
            ("a step is undone twice", "compensated"),
            ("an undoing fails after it was done", "compensation_failed"),
        ),
    ),
    (
        "COMPENSATION_FAILED",
        COMPENSATION_FAILED,
        (
            ("a success after a halt completes the step", "completed"),
            ("a failure after a halt is kept", "late_failure"),
            ("an undoing after a halt is ignored", "duplicate"),
            ("an undoing is given up twice", "compensation_failed"),
        ),
    ),
)


def _source_of(status: str, cells: tuple[str, ...]) -> str:
    if cells == PENDING:
        return "StepStatus.PENDING: (*NOTHING_FITS, None)"
    if cells == COMPENSATING:
        return "".join(f"        {cell},\n" for cell in cells)
    return f"StepStatus.{status}: ({', '.join(cells)})"


def _faults() -> Iterator[Fault]:
    for status, cells, wrong in WRONG:
        for column, (name, cell) in enumerate(wrong):
            others = [*cells[:column], cell, *cells[column + 1 :]]
            new = f"StepStatus.{status}: ({', '.join(others)})"
            if cells == COMPENSATING:
                new = "".join(f"        {each},\n" for each in others)
            yield Fault(
                name=name,
                place=f"{status.lower()} × {COLUMNS[column]}",
                module="decide",
                old=_source_of(status, cells),
                new=new,
                law="the_table_is_kept",
            )


TABLE_FAULTS: Final = tuple(_faults())
