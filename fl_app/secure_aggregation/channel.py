"""Where Flower's secure aggregation expects a grid: our exchange, with its deadline and checks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from logging import WARNING

from flwr.app import Message
from flwr.common.logger import log
from flwr.serverapp import Grid

from fl_app.messaging.flower_compat import GridClientProxy
from fl_app.messaging.transport import Instruction, MessageType, Reply, exchange
from fl_app.secure_aggregation.reply_validation import BAD_REPLIES, Check, content_bytes
from strategies.core.clients import participant_of


@dataclass(frozen=True)
class Stage:
    """One exchange of the protocol.

    Attributes:
        words: What a participant does in it.
        check: Tells whether an answer can be worked with.
        deadline: Seconds to wait for answers; `None` waits for everybody.
    """

    words: str
    check: Check
    deadline: float | None


@dataclass
class Traffic:
    """Bytes that one participant sent and was sent."""

    up: int = 0
    down: int = 0


@dataclass
class SecureChannel:
    """Exchanges the messages of a stage, and hands Flower only what can be worked with.

    Attributes:
        grid: Flower's connection to the nodes.
        proxies: The participants of the round, by node id.
        server_round: The round.
        stage: The stage in progress; set by whoever runs the stages.
        failures: Who has dropped out, by name, with the reason.
        traffic: By name.
    """

    grid: Grid
    proxies: Mapping[int, GridClientProxy]
    server_round: int
    stage: Stage = field(init=False)
    failures: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send what Flower's stage has to say; return the good answers.

        Args:
            messages: At most one per participant.
            timeout: Flower's, which counts each stage alike; the stage's own is what holds.
        """
        asked = {message.metadata.dst_node_id: message for message in messages}
        for node, message in asked.items():
            self._traffic_of(node).down += content_bytes(message.content)
        instructions = [
            Instruction(self.proxies[n], message.content) for n, message in asked.items()
        ]
        answers = []
        for reply in exchange(
            self.grid,
            instructions,
            MessageType.TRAIN,
            str(self.server_round),
            self.stage.deadline,
        ):
            node = reply.proxy.node_id
            failure = self._failure_of(reply, asked[node])
            if failure is not None:
                self._drop(node, failure)
            elif reply.content is not None:
                answers.append(Message(reply.content, reply_to=asked[node]))
        return answers

    def _failure_of(self, reply: Reply, asked: Message) -> str | None:
        if reply.content is None:
            return reply.failure
        node = reply.proxy.node_id
        self._traffic_of(node).up += content_bytes(reply.content)
        try:
            self.stage.check(node, asked.content, reply.content)
        except BAD_REPLIES as error:
            return f"its answer cannot be used: {error}"
        return None

    def _drop(self, node: int, failure: str) -> None:
        name = participant_of(self.proxies[node])
        self.failures[name] = f"{failure} (while {self.stage.words})"
        log(
            WARNING,
            "round %s: participant %s dropped out of secure aggregation: %s",
            self.server_round,
            name,
            self.failures[name],
        )

    def _traffic_of(self, node: int) -> Traffic:
        return self.traffic.setdefault(participant_of(self.proxies[node]), Traffic())
