import time
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.server.compat.grid_client_proxy import GridClientProxy

from fl_app.messaging.transport import Instruction, MessageType, Reply, exchange
from scripts.harness.in_process_grid import Fault, InProcessGrid


def echo_app() -> ClientApp:
    """Answers with its partition id and what it was sent."""
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        content = RecordDict(
            {
                "who": ConfigRecord({"id": context.node_config["partition-id"]}),
                "sent": message.content["sent"],
            }
        )
        return Message(content, reply_to=message)

    app.train()(answer)
    app.evaluate()(answer)
    return app


class CountingGrid(InProcessGrid):
    """Counts pushes, and lets some looks for replies find nothing."""

    pushes = 0
    empty_looks = 0

    def push_messages(self, messages: Any) -> Any:
        self.pushes += 1
        return super().push_messages(messages)

    def pull_messages(self, message_ids):
        if self.empty_looks > 0:
            self.empty_looks -= 1
            return []
        return super().pull_messages(message_ids)


def grid_of(num_nodes: int, faults: dict[int, Fault] | None = None, order: int = 0) -> CountingGrid:
    return CountingGrid(echo_app(), {}, num_nodes, order=order, faults=faults)


def send(grid: InProcessGrid, **arguments: Any) -> dict[int, Reply]:
    """Send to every node its partition id; the replies by partition id, in arrival order."""
    ids = {node: int(c.node_config["partition-id"]) for node, c in grid.contexts.items()}
    instructions = [
        Instruction(
            GridClientProxy(node, grid, 1), RecordDict({"sent": ConfigRecord({"id": partition})})
        )
        for node, partition in ids.items()
    ]
    return exchange_all(grid, instructions, ids, **arguments)


def exchange_all(grid, instructions, ids, **arguments: Any) -> dict[int, Reply]:
    replies = list(exchange(grid, instructions, MessageType.TRAIN, "1", **arguments))
    by_partition = {ids[reply.proxy.node_id]: reply for reply in replies}
    assert len(by_partition) == len(replies) == len(instructions)
    return by_partition


def error_with(reason: str | None) -> Fault:
    return lambda message, reply: Message(Error(7, reason), reply_to=message)


def silence(message, reply):
    return None


@pytest.mark.parametrize("order", range(3))
def test_every_reply_is_matched_with_who_sent_it(order):
    replies = send(grid_of(5, order=order))

    for partition_id, reply in replies.items():
        assert reply.failure is None
        assert reply.content is not None
        assert reply.content["who"]["id"] == reply.content["sent"]["id"] == partition_id
        assert 0 <= reply.seconds < 60


def test_all_instructions_go_out_in_one_call():
    grid = grid_of(5)

    send(grid)

    assert grid.pushes == 1


def test_nothing_to_send_is_nothing_sent():
    grid = grid_of(2)

    assert list(exchange(grid, [], MessageType.TRAIN, "1")) == []
    assert grid.pushes == 0


def test_it_waits_until_the_replies_are_there():
    grid = grid_of(2)
    grid.empty_looks = 4

    replies = send(grid)

    assert all(reply.failure is None for reply in replies.values())


def test_an_error_is_told_with_its_reason():
    replies = send(grid_of(3, {1: error_with("disk full"), 2: error_with(None)}))

    assert replies[0].failure is None
    assert (replies[1].content, replies[1].failure) == (None, "disk full")
    assert (replies[2].content, replies[2].failure) == (None, "error 7")


def test_the_silent_are_given_up_at_the_deadline_and_the_others_count():
    start = time.monotonic()

    replies = send(grid_of(3, {1: silence}), deadline=0.2)

    assert 0.2 <= time.monotonic() - start < 5
    assert list(replies)[-1] == 1
    assert replies[1].content is None
    assert replies[1].failure == "no reply within the deadline of 0.2 s"
    assert replies[1].seconds >= 0.2
    assert replies[0].content is not None
    assert replies[2].content is not None


def test_a_deadline_is_not_waited_for_when_all_have_replied():
    start = time.monotonic()

    replies = send(grid_of(3, {1: error_with("no")}), deadline=60)

    assert time.monotonic() - start < 10
    assert len(replies) == 3


def test_a_node_that_is_gone_fails_at_once():
    grid = grid_of(3)
    ids = {node: int(c.node_config["partition-id"]) for node, c in grid.contexts.items()}
    instructions = [
        Instruction(GridClientProxy(node, grid, 1), RecordDict({"sent": ConfigRecord({"id": 0})}))
        for node in ids
    ]
    grid.disconnect(1)

    replies = exchange_all(grid, instructions, ids)

    assert replies[1].failure == "its node could not be reached"
    assert replies[0].failure is replies[2].failure is None


def test_a_node_that_goes_while_it_works_is_an_error():
    class Vanishing(CountingGrid):
        def push_messages(self, messages: Any) -> Any:
            pushed = super().push_messages(messages)
            self.disconnect(1)
            return pushed

    replies = send(Vanishing(echo_app(), {}, 3))

    assert replies[1].failure == "node unavailable"
    assert replies[0].failure is replies[2].failure is None


def test_replies_of_an_earlier_exchange_do_not_enter_a_later_one():
    """Partition 1 is late in round 1: what it says then is not read in round 2."""
    grid = grid_of(2)
    grid.empty_looks = 1_000_000
    late = send(grid, deadline=0.05)
    grid.empty_looks = 0

    replies = send(grid)

    assert all(reply.content is None for reply in late.values())
    assert len(replies) == 2
    assert all(reply.content is not None for reply in replies.values())


def test_of_a_traceback_the_first_line_is_the_reason():
    trace = "ActorDiedError: the worker died\n  pid: 7\n  more\n"
    reply = send(grid_of(1, {0: error_with(trace)}))[0]
    assert reply.failure == "ActorDiedError: the worker died"


@pytest.mark.parametrize("order", range(3))
def test_with_enough_replies_nobody_waits_for_the_rest(order):
    start = time.monotonic()
    replies = send(grid_of(5, {0: silence, 1: error_with("full")}, order=order), enough=2)

    assert time.monotonic() - start < 10
    succeeded = [reply for reply in replies.values() if reply.failure is None]
    assert len(replies) == 5
    assert len(succeeded) == 2
    assert replies[0].failure == "2 others were faster, and no more are needed"
    assert replies[1].failure in ("full", replies[0].failure)


def test_too_few_for_enough_are_waited_for_until_the_deadline():
    replies = send(grid_of(3, {0: silence, 1: silence}), enough=2, deadline=0.2)
    assert replies[2].failure is None
    assert replies[0].failure == "no reply within the deadline of 0.2 s"


class WatchedGrid(CountingGrid):
    """Notes how many replies are asked for at once."""

    most = 0

    def pull_messages(self, message_ids):
        self.most = max(self.most, len(message_ids))
        return super().pull_messages(message_ids)


@pytest.mark.parametrize("order", range(3))
def test_a_window_looks_for_few_at_a_time_and_gets_them_all(order):
    grid = WatchedGrid(echo_app(), {}, 9, order=order, faults={4: error_with("full")})

    replies = send(grid, window=3)

    assert grid.most == 3
    assert [i for i in range(9) if replies[i].failure is not None] == [4]


def test_what_is_read_early_fits_in_the_window_while_the_first_is_waited_for():
    replies = send(grid_of(9, {0: silence}), window=3, deadline=0.3)

    assert set(list(replies)[:2]) == {1, 2}
    assert list(replies)[2] == 0
    assert "deadline of 0.3 s" in str(replies[0].failure)
    assert all(replies[i].failure is None for i in range(1, 9))


def test_what_is_outside_the_window_at_the_deadline_counts_if_it_is_there():
    faults = dict.fromkeys(range(4), silence)

    replies = send(grid_of(9, faults), window=2, deadline=0.3)

    assert [i for i in range(9) if replies[i].failure is None] == [4, 5, 6, 7, 8]
    assert all("deadline of 0.3 s" in str(replies[i].failure) for i in range(4))
