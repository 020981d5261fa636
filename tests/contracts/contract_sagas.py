"""Definitions and participants that keep a contract, and that break it."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel

from messaging.topology import Names
from orchestrator.contracts.agreements import Agreement, agreements_of
from orchestrator.contracts.document import Contract, asyncapi
from orchestrator.contracts.handled import Handled
from orchestrator.contracts.outlines import Outline, outlines_of
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.registry import Registry

ORDER = {"order_id": "42", "cents": 990}


class Charge(BaseModel):
    order_id: str
    cents: int


class Receipt(BaseModel):
    receipt: str


class Send(BaseModel):
    order_id: str
    receipt: str


CHARGE = SagaStep("charge", "Till.Charge", "Till.Refund", command=Charge, result=Receipt)
MAIL = SagaStep("mail", "Mail.Send", command=Send)


def define(*steps: Any, name: str = "Sale", **attributes: Any) -> SagaOrchestrator:
    """A definition that always has these steps; its examples are an order, if not said."""
    body = {
        "saga_type": name,
        "examples": (ORDER,),
        "define_steps": lambda _self, _data: list(steps),
        **attributes,
    }
    return cast("SagaOrchestrator", type(name, (SagaOrchestrator,), body)())


def outlined(*definitions: SagaOrchestrator) -> tuple[Outline, ...]:
    return outlines_of(Registry(definitions))


def agreed(
    *definitions: SagaOrchestrator, handled: Mapping[str, Handled] | None = None
) -> Mapping[str, Agreement]:
    """By destination."""
    found = agreements_of(outlined(*definitions), handled)
    return {each.destination: each for each in found}


def document_of(
    *definitions: SagaOrchestrator, handled: Mapping[str, Handled] | None = None
) -> dict[str, Any]:
    outlines = outlined(*definitions)
    contract = Contract(outlines=outlines, agreements=agreements_of(outlines, handled))
    return asyncapi(contract, Names(), release="1.0.0")
