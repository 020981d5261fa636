"""Drives chains of Celery tasks; their ends are read off the result table, all at once."""

import os
import threading
import time
import uuid

import psycopg2
from celery_steps import line
from closed_loop import with_threads

_waiting: dict[str, threading.Event] = {}


def one() -> None:
    last_id, event = str(uuid.uuid4()), threading.Event()
    _waiting[last_id] = event
    line("1", last_id)
    event.wait()


def watch() -> None:
    connection = psycopg2.connect(os.environ["PEER_DATABASE_URL"])
    connection.autocommit = True
    query = "SELECT task_id FROM celery_taskmeta WHERE status = 'SUCCESS' AND task_id = ANY(%s)"
    with connection.cursor() as cursor:
        while True:
            time.sleep(0.005)
            if ids := list(_waiting):
                cursor.execute(query, [ids])
                for (done,) in cursor.fetchall():
                    _waiting.pop(done).set()


if __name__ == "__main__":
    line("0", str(uuid.uuid4()))  # the worker then creates its tables
    time.sleep(2)
    threading.Thread(target=watch, daemon=True).start()
    with_threads(one)
