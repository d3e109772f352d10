"""What the server does differently when its nodes are simulated: few questions, few at a time."""

from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import Context, Message
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.server.client_manager import SimpleClientManager
from flwr.superlink.grid import InMemoryGrid

from fl_app.messaging import simulation
from fl_app.messaging.client_registry import ClientRegistry
from fl_app.messaging.simulation import names_by_registration, num_outstanding, worker_environment
from scripts.harness.in_process_grid import InProcessGrid
from strategies.core.clients import participant_of
from tests.fl_app.messaging.test_client_registry import Named, named_app
from tests.fl_app.messaging.test_transport import echo_app, send


class SimulatedGrid(InProcessGrid, InMemoryGrid):  # type: ignore[misc]
    """Nodes registered one after the other, as Flower's simulation does; counts what is asked."""

    num_asked = 0
    most_outstanding = 0

    def registered_at(self, partition_id: int) -> str:
        return f"2026-01-01T00:00:00.{partition_id:06d}+00:00"

    def get_nodes(self) -> Iterable[NodeInfo]:
        nodes = [
            NodeInfo(
                node_id=node_id,
                registered_at=self.registered_at(int(str(context.node_config["partition-id"]))),
            )
            for node_id, context in self.contexts.items()
        ]
        return sorted(nodes, key=lambda node: node.node_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        sent = list(super().push_messages(messages))
        self.num_asked += len(sent)
        self.most_outstanding = max(self.most_outstanding, len(self._pending))
        return sent


class ShuffledGrid(SimulatedGrid):
    """Nodes registered in another order than that of their partitions."""

    def registered_at(self, partition_id: int) -> str:
        return super().registered_at(partition_id * 7 % 100)


class ClockWentBack(SimulatedGrid):
    """Two nodes seem to have registered at the same moment."""

    def registered_at(self, partition_id: int) -> str:
        return super().registered_at(max(partition_id, 1))


def names_of(grid: InProcessGrid) -> dict[int, str]:
    """Let participants register; their names by partition id."""
    manager = SimpleClientManager()
    ClientRegistry(grid, manager).refresh()
    return {
        int(str(grid.contexts[int(cid)].node_config["partition-id"])): participant_of(proxy)
        for cid, proxy in manager.all().items()
    }


def everybody(count: int) -> dict[int, str]:
    return {i: str(i) for i in range(count)}


def test_of_many_simulated_participants_a_few_are_asked_and_all_have_their_names():
    grid = SimulatedGrid(named_app(), {}, 1000)
    assert names_of(grid) == everybody(1000)
    assert grid.num_asked < 12


def test_of_few_everybody_is_asked():
    grid = SimulatedGrid(named_app(), {}, 20)
    assert names_of(grid) == everybody(20)
    assert grid.num_asked == 20


@pytest.mark.parametrize("kind", [ShuffledGrid, ClockWentBack, InProcessGrid])
def test_where_the_order_says_nothing_everybody_is_asked(kind):
    grid = kind(named_app(), {}, 100)
    assert names_of(grid) == everybody(100)


def test_an_order_with_ties_is_none():
    assert names_by_registration(ClockWentBack(named_app(), {}, 3)) == {}
    assert names_by_registration(InProcessGrid(named_app(), {}, 3)) == {}


def test_a_simulation_is_sent_a_few_messages_at_a_time_and_all_are_answered(monkeypatch):
    monkeypatch.setattr(simulation, "_num_cpus", lambda: 1)
    grid = SimulatedGrid(echo_app(), {}, 50)

    replies = send(grid)

    assert grid.most_outstanding == 16
    assert all(reply.content is not None for reply in replies.values())
    assert sorted(replies) == list(range(50))


def test_what_was_not_sent_by_the_deadline_has_failed_like_what_was_not_answered(monkeypatch):
    monkeypatch.setattr(simulation, "_num_cpus", lambda: 1)

    def silence(message: Message, reply: Any) -> None:
        return None

    grid = SimulatedGrid(echo_app(), {}, 50, faults=dict.fromkeys(range(50), silence))

    replies = send(grid, deadline=0.2)

    assert grid.num_asked == 16
    assert {reply.failure for reply in replies.values()} == {
        "no reply within the deadline of 0.2 s"
    }


def test_real_nodes_are_sent_everything_at_once():
    assert num_outstanding(InProcessGrid(echo_app(), {}, 3)) is None


def test_without_a_cluster_the_cpus_are_those_of_this_machine(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert num_outstanding(SimulatedGrid(echo_app(), {}, 1)) == 48


def test_participants_that_say_more_than_their_name_are_all_asked(monkeypatch):
    """For secure aggregation, everybody says how much it weighs."""
    monkeypatch.setattr(simulation, "_num_cpus", lambda: 1)

    class Weighed(Named):
        def get_properties(self, config):
            return super().get_properties(config) | {"num-examples": 7}

    def client_fn(context: Context) -> Client:
        return Weighed(str(context.node_config["partition-id"])).to_client()

    grid = SimulatedGrid(ClientApp(client_fn), {}, 100)
    assert names_of(grid) == everybody(100)
    assert grid.num_asked == 100


def test_workers_that_wait_serve_a_run_that_asks_for_a_path_and_no_other():
    assert worker_environment({"env_vars": {"PYTHONPATH": "/app"}}) == {}
    assert worker_environment(None) == {}
    for asked in (
        {"env_vars": {"PYTHONPATH": "/app", "A": "1"}},
        {"env_vars": {"A": "1"}},
        {"env_vars": {"PYTHONPATH": "/app"}, "pip": ["x"]},
        {"working_dir": "/app"},
    ):
        assert worker_environment(asked) == asked
