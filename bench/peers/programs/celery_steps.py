"""A chain of four Celery tasks; the worker runs this module as its application."""

import os

from celery import Celery, chain

app = Celery(
    "celery_steps",
    broker=os.environ["PEER_AMQP_URL"],
    backend=f"db+{os.environ['PEER_DATABASE_URL'].replace('postgresql:', 'postgresql+psycopg2:')}",
)
app.conf.update(
    task_default_queue=os.environ["PEER_NAME"],
    task_default_exchange=os.environ["PEER_NAME"],
    task_default_routing_key=os.environ["PEER_NAME"],
    task_default_queue_type="quorum",
    worker_detect_quorum_queues=True,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def step(order: dict[str, str], name: str) -> dict[str, str]:
    return {**order, name: f"R-{name}"}


def line(order_id: str, last_id: str) -> None:
    """Send off one chain; its last task has the id `last_id`."""
    steps = [step.s({"order_id": order_id}, "a"), step.s("b"), step.s("c")]
    chain(*steps, step.s("d").set(task_id=last_id)).apply_async()
