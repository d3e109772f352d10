"""A grid that runs the real `ClientApp` in this process: no Ray, no start-up, one at a time."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fl_app.messaging.flower_compat import (
    NODE_UNAVAILABLE,
    Run,
    identify_process,
    set_message_id,
)

Fault = Callable[[Message, Callable[[], Message]], Message | None]
"""Given an instruction and what would answer it, return the reply, or None for silence."""


class InProcessGrid(Grid):
    """Every node answers when replies are pulled, in a random order.

    Attributes:
        faults: What goes wrong, by partition id.
        order: Decides the order of arrival.
    """

    def __init__(
        self,
        client_app: ClientApp,
        run_config: Mapping[str, Any],
        num_nodes: int,
        order: int = 0,
        faults: Mapping[int, Fault] | None = None,
        node_configs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Connect the nodes.

        Args:
            client_app: What every node runs.
            run_config: Of the run.
            num_nodes: How many there are.
            order: Decides the order of arrival.
            faults: What goes wrong, by partition id.
            node_configs: Of each node; by default its partition id.
        """
        self.faults = dict(faults or {})
        self._random = random.Random(order)
        self._client_app = client_app
        self._pending: dict[str, Message] = {}
        self._run = Run.create_empty(1)
        identify_process(task_id=1, run_id=1, node_id=0)
        self.contexts: dict[int, Context] = {}
        for partition_id in range(num_nodes):
            own = None if node_configs is None else node_configs[partition_id]
            self.connect(partition_id, run_config, num_nodes, own)

    def connect(
        self,
        partition_id: int,
        run_config: Mapping[str, Any],
        num_nodes: int,
        node_config: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a node; like Flower's, its id is random and says nothing."""
        node_id = self._random.getrandbits(62)
        self.contexts[node_id] = Context(
            run_id=1,
            node_id=node_id,
            node_config=dict(
                node_config or {"partition-id": partition_id, "num-partitions": num_nodes}
            ),
            state=RecordDict(),
            run_config=dict(run_config),
        )
        return node_id

    def disconnect(self, partition_id: int) -> None:
        """Remove a node."""
        for node_id, context in list(self.contexts.items()):
            if context.node_config["partition-id"] == partition_id:
                del self.contexts[node_id]

    def set_run(self, run: Run) -> None:
        """See Flower's `Grid`; so are the others below."""
        self._run = run

    @property
    def run(self) -> Run:  # noqa: D102
        return self._run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:  # noqa: ANN401, D102
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:  # noqa: D102
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:  # noqa: D102
        ids = []
        for message in messages:
            set_message_id(message, str(uuid4()))
            if message.metadata.dst_node_id not in self.contexts:
                continue
            self._pending[message.metadata.message_id] = message
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:  # noqa: D102
        waiting = sorted(set(message_ids) & set(self._pending))
        self._random.shuffle(waiting)
        replies = (self._answer(self._pending.pop(message_id)) for message_id in waiting)
        return [reply for reply in replies if reply is not None]

    def send_and_receive(  # noqa: D102
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message | None:
        context = self.contexts.get(message.metadata.dst_node_id)
        if context is None:
            return Message(Error(NODE_UNAVAILABLE, "node unavailable"), reply_to=message)
        fault = self.faults.get(int(str(context.node_config.get("partition-id", -1))))

        def reply() -> Message:
            return self._client_app(deepcopy(message), context)  # as if it had come over a wire

        if fault is None or message.metadata.message_type == "get_properties":
            return reply()
        return fault(message, reply)
