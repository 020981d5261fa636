"""What befalls the broker itself, and what its operators do to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.chaos.orders import orders_of_open_end
from tests.chaos.scenario import Needs, scenario
from tests.chaos.topology import delete_exchange, delete_queue, drifted_queue, rebound, unbind
from tests.chaos.world import World

BRISK = Needs(definitions="brisk_orders", orders=orders_of_open_end, still_seconds=120.0)


@scenario(10, "rabbit-stop_app-start_app", "the broker's application stops for 5 s, twice")
def stop_application(world: World) -> None:
    with world.under_load():
        for _ in range(2):
            world.reach_any_moment()
            world.play("stop_app", lambda: world.rabbit.rabbitmqctl("stop_app"))
            world.last(5)
            world.mend("start_app", lambda: world.rabbit.rabbitmqctl("start_app"))
            world.reach_any_moment()


@scenario(11, "rabbit-sigkill", "kill -9 of the broker, twice", short=True)
def kill_broker(world: World) -> None:
    world.rabbit.sync_declarations()
    with world.under_load():
        for _ in range(2):
            world.reach_any_moment()
            world.play("kill -9 of the broker", world.rabbit.kill)
            world.mend("the broker starts", world.rabbit.start)
            world.reach_any_moment()


@scenario(21, "memory-alarm", "the memory alarm blocks publishers for 20 s")
def memory_alarm(world: World) -> None:
    with world.under_load(), alarm(world, "set_vm_memory_high_watermark", "0.0001"):
        world.last(20)
    world.rabbit.rabbitmqctl("set_vm_memory_high_watermark", "0.4")


@scenario(22, "disk-alarm", "the disk alarm blocks publishers for 20 s")
def disk_alarm(world: World) -> None:
    with world.under_load(), alarm(world, "set_disk_free_limit", "999GB"):
        world.last(20)
    world.rabbit.rabbitmqctl("set_disk_free_limit", "50MB")


@contextmanager
def alarm(world: World, setting: str, limit: str) -> Iterator[None]:
    world.reach_any_moment()
    world.play(f"{setting} {limit}", lambda: world.rabbit.rabbitmqctl(setting, limit))
    yield
    alarms = world.rabbit.rabbitmqctl("eval", "rabbit_alarm:get_alarms().")
    assert "resource_limit" in alarms, f"there was no alarm: {alarms}"


@scenario(23, "consumer-timeout", "the broker's consumer timeout strikes while work stands still")
def consumer_timeout(world: World) -> None:
    with hasty_broker(world), world.under_load():
        world.broker_wire.cut()  # a channel reads the timeout when it opens
        world.wait_ready()
        connected = world.broker_wire.accepted
        world.reach_any_moment()
        world.database_wire.freeze()  # what was delivered is held, and cannot be settled
        world.last(9)
        world.database_wire.heal()
        assert world.broker_wire.accepted > connected, "the broker closed no channel"
        world.reach_any_moment()
    world.broker_wire.cut()


@contextmanager
def hasty_broker(world: World) -> Iterator[None]:
    """Channels that are closed when a delivery is not settled within two seconds."""
    before = "[{consumer_timeout, 1800000}, {channel_tick_interval, 60000}]"
    set_all(world, "[{consumer_timeout, 2000}, {channel_tick_interval, 1000}]")
    try:
        yield
    finally:
        set_all(world, before)


def set_all(world: World, settings: str) -> None:
    each = f"[application:set_env(rabbit, Key, Value) || {{Key, Value}} <- {settings}]."
    world.play(f"consumer timeouts: {settings}", lambda: world.rabbit.rabbitmqctl("eval", each))


@scenario(24, "queue-deleted", "queues in use are deleted, with all that is in them", needs=BRISK)
def queues_deleted(world: World) -> None:
    names = world.place.names
    with world.under_load():
        for queue in (names.replies, names.commands_for("PaymentService"), names.replies):
            world.reach_any_moment()
            world.play(f"{queue} is deleted", lambda queue=queue: delete_queue(world.place, queue))
            world.last(3)
        world.wait_ready()


@scenario(25, "queue-args-drift", "a queue is made anew with other arguments", needs=BRISK)
def drift(world: World) -> None:
    names = world.place.names
    with world.under_load():
        world.reach_any_moment()
        for queue in (names.replies, names.commands_for("ShippingService")):
            world.play(f"{queue} drifts", lambda queue=queue: drifted_queue(world.place, queue))
        world.broker_wire.cut()
        world.last(10)
        for queue in (names.replies, names.commands_for("ShippingService")):
            world.play(f"{queue} is deleted", lambda queue=queue: delete_queue(world.place, queue))


@scenario(26, "binding-missing", "a queue is unbound for 8 s, then an exchange is deleted")
def binding_missing(world: World) -> None:
    names = world.place.names
    queue, key = names.commands_for("PaymentService"), "PaymentService.*"
    with world.under_load():
        world.reach_any_moment()
        world.play(f"{queue} is unbound", lambda: unbind(world.place, queue, names.commands, key))
        world.last(8)
        world.mend("bound again", lambda: rebound(world.place, queue, names.commands, key))
        world.reach_any_moment()
        world.play(
            "the exchange of replies goes", lambda: delete_exchange(world.place, names.replies)
        )
        world.last(5)


@scenario(27, "password-rotated", "the user's password changes, then its permissions are taken")
def credentials(world: World) -> None:
    user, password = "test", str(urlsplit(world.rabbit.url).password)
    control = world.rabbit.rabbitmqctl
    with world.under_load():
        world.reach_any_moment()
        world.play("another password", lambda: control("change_password", user, "another"))
        control("close_all_connections", "rotated")
        world.last(6)
        world.mend("the old password", lambda: control("change_password", user, password))
        world.wait_ready()
        world.reach_any_moment()
        world.play("no permissions", lambda: control("clear_permissions", user))
        control("close_all_connections", "revoked")
        world.last(6)
        world.mend("all permissions", lambda: control("set_permissions", user, ".*", ".*", ".*"))
