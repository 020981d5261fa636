"""`python -m bench.null_participants`: participants that answer at once and keep nothing."""

import argparse

from bench.answers import NullParticipants
from bench.clients import CLIENTS, relay
from bench.loops import run
from bench.sagas import PARTICIPANTS
from messaging.topology import Names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.null_participants", description=__doc__)
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--client", choices=CLIENTS, default="codec")
    options = parser.parse_args()
    names = Names(options.namespace)
    queues = [names.commands_for(each) for each in PARTICIPANTS]
    run(relay(options.client, options.amqp_url, queues, NullParticipants(names)))


if __name__ == "__main__":
    main()
