"""What a check found, and what that means for the exit code."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chassis.exit_codes import ExitCode
from messaging.errors import SagaError, Unavailable


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and deserves a look
    PROBLEM = "problem"  # programs cannot start with it, or cannot work


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. A problem has a remedy and an exit code."""

    check: str
    level: Level = Level.OK
    detail: str
    remedy: str | None = None
    code: ExitCode = ExitCode.DONE

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "level": self.level.value,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def well(check: str, detail: str) -> Finding:
    return Finding(check=check, detail=detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check=check, level=Level.WARNING, detail=detail, remedy=remedy)


def misconfigured(check: str, detail: str, remedy: str | None) -> Finding:
    return _problem(check, detail, remedy, ExitCode.MISCONFIGURED)


def unavailable(check: str, detail: str, remedy: str | None) -> Finding:
    return _problem(check, detail, remedy, ExitCode.UNAVAILABLE)


def problem_of(check: str, error: SagaError, remedy: str) -> Finding:
    """An error as a finding. A configuration's error names its remedy itself."""
    if isinstance(error, Unavailable):
        return unavailable(check, str(error), remedy)
    detail, _, own = str(error).partition("; ")
    return misconfigured(check, detail, own or remedy)


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """78 if anything has to be set right by a person, else 69 if something is out of reach."""
    codes = {finding.code for finding in findings}
    for code in (ExitCode.MISCONFIGURED, ExitCode.UNAVAILABLE):
        if code in codes:
            return code
    return ExitCode.DONE


def _problem(check: str, detail: str, remedy: str | None, code: ExitCode) -> Finding:
    return Finding(check=check, level=Level.PROBLEM, detail=detail, remedy=remedy, code=code)
