"""Four durable steps on DBOS, called from threads in its own process."""

import os

from closed_loop import with_threads
from dbos import DBOS

DBOS(
    config={
        "name": "bench",
        "system_database_url": os.environ["PEER_DATABASE_URL"],
        "sys_db_pool_size": 10,
        "run_admin_server": False,
        "log_level": "ERROR",
    }
)


@DBOS.step()
def step(name: str, order_id: str) -> dict[str, str]:
    return {"reference": f"{name}-{order_id}"}


@DBOS.workflow()
def line(order_id: str) -> None:
    for name in ("a", "b", "c", "d"):
        step(name, order_id)


if __name__ == "__main__":
    DBOS.launch()
    with_threads(lambda: line("1"))
    DBOS.destroy()
