"""`saga definitions`, `saga contract` and `saga participants verify`, as people type them."""

import json
from pathlib import Path

import pytest
from cli_stories import COMPLETED, PAYING, stored
from command_lines import Saga, only_line, put

from orchestrator.store.database import DatabaseStore
from orchestrator.store.queries import open_sagas

SHOP = "orchestrator.examples.shop_order"
ORDERS = "orchestrator.examples.order_fulfillment"
SERVICES = "participants.examples.order_fulfillment"
GREEDY = """
from orchestrator import SagaOrchestrator, SagaStep


class Greedy(SagaOrchestrator):
    saga_type = "Greedy"

    def define_steps(self, data):
        return [SagaStep(data["step"], "Legs.Run")]
"""
WRONG = """
from orchestrator import SagaOrchestrator, SagaStep


class Wrong(SagaOrchestrator):
    saga_type = "Wrong"
    examples = ({"a": 1},)

    def define_steps(self, data):
        return [SagaStep("run", "Legs.Run", payload=["b"])]
"""


@pytest.fixture
def greedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module whose definition needs data and has no examples."""
    (tmp_path / "greedy_sagas.py").write_text(GREEDY)
    (tmp_path / "wrong_sagas.py").write_text(WRONG)
    monkeypatch.syspath_prepend(tmp_path)
    return "greedy_sagas"


def test_definitions_are_listed_with_their_plans(saga: Saga) -> None:
    page = saga("definitions", "list", SHOP, ORDERS).out
    assert "TYPE              PLANS  STEPS" in page
    assert "ShopOrder             3      7  DownloadService, InvoiceService" in page


def test_each_plan_is_shown_or_the_one_for_given_data(saga: Saga) -> None:
    assert saga("definitions", "show", SHOP).out.count("ShopOrder · example") == 3
    digital = saga("definitions", "show", SHOP, "--data", '{"is_digital": true}').out
    assert "ShopOrder\n" in digital
    assert "send_download" in digital
    assert "take_stock" not in digital
    two = saga(
        *("definitions", "show", SHOP, "-o", "json"), "--data", "{}", "--data", '{"voucher": "V"}'
    )
    assert [each["title"] for each in two.value] == ["example 1", "example 2"]


def test_a_definition_that_needs_data_says_so(saga: Saga, greedy: str) -> None:
    ran = saga("definitions", "show", greedy, ORDERS)
    assert ran.code == 78
    assert "OrderFulfillment" in ran.out  # the others are shown
    assert "Greedy.define_steps raised KeyError: 'step'; declare examples, or give --data" in (
        only_line(ran.err)
    )
    assert saga("definitions", "show", greedy, "--data", '{"step": "run"}').code == 0
    assert "Greedy      ?      ?  Legs" in saga("definitions", "list", greedy).out
    ran = saga("definitions", "validate", greedy)
    assert (ran.code, ran.out[:15]) == (0, "warning  Greedy")


def test_all_that_is_wrong_is_said_at_once(saga: Saga, greedy: str) -> None:
    ran = saga("definitions", "validate", "wrong_sagas", "no_such_module", ORDERS)
    assert ran.code == 78
    wrong, missing, orders = ran.out.splitlines()
    told = "problem  Wrong: Wrong.run: payload lists 'b', which neither the data nor a result has"
    assert wrong == told
    assert missing.startswith("problem  no_such_module: cannot import 'no_such_module': there is")
    assert orders == "ok  OrderFulfillment: 1 plan, all in order"


def test_each_wrong_definition_of_a_module_is_told(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    steps = "    def define_steps(self, data): return []\n"
    classes = "".join(
        f"class {name}(SagaOrchestrator):\n    saga_type = '{name}'\n{steps}" for name in "AB"
    )
    source = f"from orchestrator import SagaOrchestrator\n{classes}"
    (tmp_path / "empty_sagas.py").write_text(source)
    ran = saga("definitions", "validate", "empty_sagas")
    assert ran.code == 78
    assert [line.partition(": ")[2][:14] for line in ran.out.splitlines()] == [
        "A.define_steps",
        "B.define_steps",
    ]


@pytest.mark.parametrize(
    ("format_", "start"), [("mermaid", "flowchart LR\n"), ("dot", "digraph"), ("svg", "<svg ")]
)
def test_a_graph_is_printed_in_the_wanted_format(format_: str, start: str, saga: Saga) -> None:
    ran = saga("definitions", "graph", SHOP, "--format", format_)
    assert ran.code == 0
    assert ran.out.startswith(start)
    assert ran.out.endswith("\n")


def test_a_contract_is_printed_or_written_to_a_directory(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGA_NAMESPACE", "shop")
    printed = saga("contract", ORDERS, "--participants", SERVICES).value
    assert printed["channels"]["replies"]["address"] == "shop.replies"
    ran = saga("contract", ORDERS, "--participants", SERVICES, "--output", str(tmp_path / "c"))
    assert ran.code == 0
    assert json.loads((tmp_path / "c" / "asyncapi.json").read_text()) == printed
    names = {path.stem for path in (tmp_path / "c" / "schemas").iterdir()}
    assert names == set(printed["components"]["messages"])
    (tmp_path / "file").write_text("")
    ran = saga("contract", ORDERS, "--output", str(tmp_path / "file"))
    assert ran.code == 78
    assert "cannot be written" in only_line(ran.err)


def test_services_are_verified_by_a_file_or_by_definitions(saga: Saga, tmp_path: Path) -> None:
    contract = tmp_path / "asyncapi.json"
    contract.write_text(saga("contract", ORDERS, "--participants", SERVICES).out)
    for given in (("--contract", str(contract)), ("--sagas", ORDERS)):
        ran = saga("participants", "verify", SERVICES, *given)
        assert (ran.code, ran.out.splitlines()[-1]) == (0, "the contract is kept")
    document = json.loads(contract.read_text())
    completed = document["components"]["messages"][
        "PaymentService.ProcessPayment.SagaStepCompleted"
    ]
    completed["payload"]["properties"]["result"]["required"].append("receipt")
    contract.write_text(json.dumps(document))
    ran = saga("participants", "verify", SERVICES, "--contract", str(contract))
    assert ran.code == 3
    assert "result: shall answer 'receipt', and never does" in ran.out
    assert ran.out.splitlines()[-1] == "the contract is broken: 1 problem"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((SERVICES,), "give the contract with --contract, or definitions with --sagas"),
        (("--sagas", ORDERS), "name modules, or one service with --running"),
        ((SERVICES, "--running", "Mail", "--sagas", ORDERS), "name modules, or one service"),
    ],
)
def test_half_a_command_line_is_a_usage_error(
    arguments: tuple[str, ...], told: str, saga: Saga
) -> None:
    ran = saga("participants", "verify", *arguments)
    assert ran.code == 2
    assert told in only_line(ran.err)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no JSON"),
        ("[]", "is no AsyncAPI 3 document"),
        ('{"asyncapi": "2.6.0"}', "is no AsyncAPI 3 document"),
        ('{"asyncapi": "3.0.0"}', "the contract has no command"),
        (
            '{"asyncapi": "3.0.0", "components": {"messages": {"A.B": {"x-saga": {}}}}}',
            "A.B cannot",
        ),
        ('{"asyncapi": "3.0.0", "a": {"$ref": "#/b"}}', "points at '#/b', and it is not there"),
    ],
)
def test_a_file_that_is_no_contract_is_refused_in_one_line(
    text: str | None, told: str, saga: Saga, tmp_path: Path
) -> None:
    contract = tmp_path / "asyncapi.json"
    if text is not None:
        contract.write_text(text)
    ran = saga("participants", "verify", SERVICES, "--contract", str(contract))
    assert ran.code == 78
    assert told in only_line(ran.err)


def test_compat_looks_at_sagas_that_have_not_ended(saga: Saga, database: str) -> None:
    assert saga("definitions", "compat", ORDERS).out == (
        "0 sagas in flight, all of them can go on with the plans that they have\n"
    )
    for saga_id, moments in (("order-1", PAYING), ("order-2", PAYING), ("order-3", COMPLETED)):
        put(database, lambda store, i=saga_id, m=moments: stored(store, i, m))
    assert saga("definitions", "compat", ORDERS, "--participants", SERVICES).out == (
        "2 sagas in flight, all of them can go on with the plans that they have\n"
    )
    gone = saga("definitions", "compat", SHOP, "-o", "json").value
    assert (gone["is_compatible"], gone["sagas"], gone["stranded"]) == (True, 2, 0)
    assert gone["findings"][0]["examples"] == ["order-1", "order-2"]
    only = f"{SERVICES}:inventory"
    ran = saga("definitions", "compat", ORDERS, "--participants", only)
    assert ran.code == 3
    assert "PaymentService.ProcessPayment: nobody is PaymentService any more" in ran.out
    assert ran.out.splitlines()[-1] == "2 sagas in flight, 2 would be stranded; do not deploy this"


def test_sagas_in_flight_are_read_page_by_page(database: str) -> None:
    for saga_id, moments in (("order-1", PAYING), ("order-2", COMPLETED), ("order-3", PAYING)):
        put(database, lambda store, i=saga_id, m=moments: stored(store, i, m))

    async def read(store: DatabaseStore) -> list[str]:
        return [saga_id async for saga_id, found in open_sagas(store, page=1) if found]

    assert sorted(put(database, read)) == ["order-1", "order-3"]
