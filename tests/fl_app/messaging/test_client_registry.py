import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Context, Error, Message
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.server.client_manager import SimpleClientManager

from fl_app.core.errors import UserError
from fl_app.messaging.client_registry import ClientRegistry, QuorumError
from scripts.harness.in_process_grid import InProcessGrid


class Named(NumPyClient):
    """Says its name, and no more."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def get_properties(self, config):
        if isinstance(self._name, Exception):
            raise self._name
        return {} if self._name is None else {"participant": self._name}


def named_app(name_of: Callable[[int], Any] = str) -> ClientApp:
    def client_fn(context: Context) -> Client:
        return Named(name_of(int(context.node_config["partition-id"]))).to_client()

    def report(message: Message, context: Context, call_next: Any) -> Message:
        try:
            reply: Message = call_next(message, context)
        except RuntimeError as error:
            return Message(Error(3, str(error)), reply_to=message)
        return reply

    return ClientApp(client_fn, mods=[report])


def setting(num_nodes: int, name_of: Callable[[int], Any] = str):
    grid = InProcessGrid(named_app(name_of), {}, num_nodes)
    manager = SimpleClientManager()
    return grid, manager, ClientRegistry(grid, manager)


@pytest.fixture
def flower_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    return caplog


def test_connected_nodes_become_participants_with_names():
    grid, manager, participants = setting(12)

    participants.refresh()

    assert participants.names() == [str(i) for i in range(12)]
    assert {int(cid) for cid in manager.all()} == set(grid.contexts)
    for cid, proxy in manager.all().items():
        partition_id = grid.contexts[int(cid)].node_config["partition-id"]
        assert proxy.properties["participant"] == str(partition_id)


def test_names_are_asked_for_once(monkeypatch):
    grid, _, participants = setting(3)
    participants.refresh()
    monkeypatch.setattr(grid, "push_messages", lambda messages: pytest.fail("asked again"))

    participants.refresh()

    assert participants.names() == ["0", "1", "2"]


def test_a_node_without_a_name_is_known_by_its_id():
    grid, _, participants = setting(1, lambda partition_id: None)

    participants.refresh()

    assert participants.names() == [str(next(iter(grid.contexts)))]


def test_nodes_that_go_are_forgotten_and_named(flower_log):
    grid, manager, participants = setting(3)
    participants.refresh()

    grid.disconnect(1)
    participants.refresh()

    assert participants.names() == ["0", "2"]
    assert manager.num_available() == 2
    assert "participant 1 has disconnected" in flower_log.text


def test_a_restarted_node_is_the_same_participant():
    grid, manager, participants = setting(3)
    participants.refresh()
    before = set(manager.all())

    grid.disconnect(1)
    grid.connect(1, {}, 3)
    participants.refresh()

    assert participants.names() == ["0", "1", "2"]
    assert len(set(manager.all()) - before) == 1


def test_a_second_node_of_a_name_is_left_out_until_the_first_is_gone(flower_log):
    grid, manager, participants = setting(2)
    participants.refresh()
    node_id = grid.connect(1, {}, 2)

    participants.refresh()

    assert participants.names() == ["0", "1"]
    assert str(node_id) not in manager.all()
    assert f"node {node_id} is left out, it calls itself participant 1" in flower_log.text

    first = next(
        node
        for node in grid.contexts
        if node != node_id
        and str(node) in manager.all()
        and grid.contexts[node].node_config["partition-id"] == 1
    )
    del grid.contexts[first]
    participants.refresh()

    assert participants.names() == ["0", "1"]
    assert str(node_id) in manager.all()


def test_of_two_that_call_themselves_the_same_one_takes_part():
    _, manager, participants = setting(4, lambda partition_id: "twin")

    participants.refresh()

    assert participants.names() == ["twin"]
    assert manager.num_available() == 1


def test_a_node_that_fails_to_say_who_it_is_is_left_out_with_the_cause(flower_log):
    _, manager, participants = setting(
        3, lambda partition_id: RuntimeError("no such file") if partition_id == 1 else "ok"
    )

    participants.refresh()

    assert participants.names() == ["ok"]
    assert manager.num_available() == 1
    assert "did not say who it is: no such file" in flower_log.text


def test_waiting_ends_at_once_when_all_are_there():
    _, _, participants = setting(3)
    start = time.monotonic()

    participants.wait_for(3, deadline=60)

    assert time.monotonic() - start < 5
    assert participants.names() == ["0", "1", "2"]


def test_nodes_that_register_late_are_waited_for():
    grid, manager, participants = setting(1)

    def arrive() -> None:
        for partition_id in (1, 2):
            time.sleep(0.15)
            grid.connect(partition_id, {}, 3)

    arrivals = threading.Thread(target=arrive)
    arrivals.start()
    participants.wait_for(3, deadline=30)
    arrivals.join()

    assert participants.names() == ["0", "1", "2"]
    assert manager.num_available() == 3


def test_all_who_are_there_are_registered_though_fewer_are_needed():
    _, manager, participants = setting(5)

    participants.wait_for(2, deadline=30)

    assert manager.num_available() == 5


def test_a_missed_quorum_is_told_with_counts_and_names():
    _, _, participants = setting(2)
    start = time.monotonic()

    with pytest.raises(QuorumError) as caught:
        participants.wait_for(5, deadline=0.2)

    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert "2 of the 5 participants needed are connected (0, 1), 3 are missing" in message
    assert "0.2 s" in message
    assert isinstance(caught.value, UserError)


def test_twins_do_not_make_a_quorum():
    _, _, participants = setting(2, lambda partition_id: "twin")

    with pytest.raises(QuorumError) as caught:
        participants.wait_for(2, deadline=0.2)

    message = str(caught.value)
    assert "1 of the 2 participants needed are connected (twin)" in message
    assert message.endswith(
        "1 more are connected and left out; the last calls itself participant twin, who is "
        "connected already"
    )


def test_an_empty_federation_misses_its_quorum():
    _, _, participants = setting(0)

    with pytest.raises(QuorumError, match=r"0 of the 1 participants needed are connected \(none\)"):
        participants.wait_for(1, deadline=0.1)


def test_a_node_that_was_refused_is_asked_again_after_a_while(monkeypatch):
    monkeypatch.setattr("fl_app.messaging.client_registry._ASK_AGAIN_SECONDS", 0.3)
    asked = []

    def name_of(partition_id):
        asked.append(partition_id)
        return "mended" if len(asked) > 1 else RuntimeError("no such file")

    _, _, participants = setting(1, name_of)
    participants.refresh()
    participants.refresh()
    assert (participants.names(), len(asked)) == ([], 1)

    time.sleep(0.4)
    participants.refresh()

    assert participants.names() == ["mended"]
