"""A shipping service whose effects lie outside its inbox: it books with a carrier."""

from typing import Any

from sqlalchemy import insert, select

from participants import Context, NotFound, Participant
from participants.examples.books import create_missing, shipments
from participants.examples.trials import undergo

service = Participant("ShippingService")
service.prepare(create_missing)


@service.action("CreateShipment", external=True)
async def create_shipment(command: dict[str, Any], context: Context) -> dict[str, Any]:
    await undergo(context)
    await _book(context, "create")
    return {"shipment_id": f"S-{context.idempotency_key}"}


@service.compensation("CancelShipment")
async def cancel_shipment(command: dict[str, Any], context: Context) -> None:
    await undergo(context)
    if not await _is_booked(context, "create"):
        raise NotFound("the carrier has no such parcel")
    await _book(context, "cancel")


async def _book(context: Context, kind: str) -> None:
    """In a transaction of the carrier's own, once for each idempotency key, as carriers do."""
    row = {
        "saga_id": context.saga_id,
        "kind": kind,
        "tracking_number": f"T-{context.idempotency_key}",
    }
    own = shipments.c.tracking_number == row["tracking_number"]
    async with _carrier(context).begin() as connection:
        if (await connection.execute(select(shipments.c.id).where(own))).first() is None:
            await connection.execute(insert(shipments).values(row))


async def _is_booked(context: Context, kind: str) -> bool:
    query = select(shipments.c.id).where(
        shipments.c.saga_id == context.saga_id, shipments.c.kind == kind
    )
    async with _carrier(context).connect() as connection:
        return (await connection.execute(query)).first() is not None


def _carrier(context: Context) -> Any:
    """The engine behind the session: another connection, another transaction."""
    return context.session.bind.engine  # type: ignore[union-attr]
