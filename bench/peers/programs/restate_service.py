"""Four durable steps on Restate; hypercorn serves this module."""

import restate

line = restate.Service("Line")


async def _step(name: str, order_id: str) -> dict[str, str]:
    return {"reference": f"{name}-{order_id}"}


@line.handler()
async def run(context: restate.Context, order_id: str) -> str:
    for name in ("a", "b", "c", "d"):
        await context.run_typed(name, _step, name=name, order_id=order_id)
    return order_id


app = restate.app([line])
