"""A notification service that one order kills, every time."""

import os
import signal
from typing import Any

from participants import Context, NotFound, Participant
from participants.examples.books import create_missing, notifications

service = Participant("NotificationService")
service.prepare(create_missing)


@service.action("SendOrderConfirmation")
async def send_order_confirmation(command: dict[str, Any], context: Context) -> dict[str, Any]:
    if command.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    row = {"saga_id": context.saga_id, "kind": "confirmation", "text": "confirmed"}
    await context.session.execute(notifications.insert().values(row))
    return {}


@service.compensation("SendCancellationNotice")
async def send_cancellation_notice(command: dict[str, Any], context: Context) -> None:
    raise NotFound("nothing is left to be undone")
