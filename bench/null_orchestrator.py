"""`python -m bench.null_orchestrator`: an orchestrator that keeps no state."""

import argparse
import json

from bench.answers import NullOrchestrator
from bench.clients import CLIENTS, relay
from bench.data import data_of
from bench.loops import run
from bench.null_plan import plan_of
from bench.sagas import SAGAS
from messaging.topology import Names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.null_orchestrator", description=__doc__)
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--client", choices=CLIENTS, default="codec")
    parser.add_argument("--payload", type=int, default=0, help="bytes more in every command")
    options = parser.parse_args()
    names = Names(options.namespace)
    data = json.dumps(data_of(0, options.payload), separators=(",", ":"))[1:-1].encode()
    answer = NullOrchestrator(names, plan_of(SAGAS), data)
    queues = [names.starts, names.replies]
    run(relay(options.client, options.amqp_url, queues, answer))


if __name__ == "__main__":
    main()
