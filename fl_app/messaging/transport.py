"""One exchange: all messages out in one call, replies in as they come."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fl_app.messaging.flower_compat import GridClientProxy
from fl_app.messaging.simulation import num_outstanding

# Looking for replies takes at most this share of the time: in a simulation the processor is the
# participants', in deployment a look is a request. A look that is cheap is soon repeated.
_POLL_SHARE = 0.02
_POLL_MIN_SECONDS = 0.005
_POLL_MAX_SECONDS = 0.25

# How long a message lives that nothing else ends: ten years. Without a time to live Flower gives a
# message 12 hours, after which neither the node nor the server may have it.
FOR_EVER_SECONDS = 10 * 365 * 24 * 3600.0

# Flower puts whole tracebacks into a reason; the first line says what happened.
_REASON_LENGTH = 500


class MessageType(StrEnum):
    """What a message asks a participant to do, in Flower's terms."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    GET_PROPERTIES = "get_properties"


@dataclass(frozen=True)
class Instruction:
    """A message to be sent to one participant."""

    proxy: GridClientProxy
    content: RecordDict


@dataclass(frozen=True)
class Reply:
    """What became of one instruction.

    Attributes:
        proxy: The participant.
        content: What it answered; `None` if it failed.
        failure: Why there is no content, as a sentence without a subject.
        seconds: From the start of the exchange to receiving, or to giving up.
    """

    proxy: GridClientProxy
    content: RecordDict | None
    failure: str | None
    seconds: float


def exchange(
    grid: Grid,
    instructions: Sequence[Instruction],
    message_type: MessageType,
    group_id: str,
    deadline: float | None = None,
    enough: int | None = None,
    window: int | None = None,
) -> Iterator[Reply]:
    """Send every instruction in one call and yield the replies as they come.

    In a simulation, which has few workers for many nodes, the rest is sent as replies come; see
    `fl_app.messaging.simulation`. A reply that comes after the deadline is never read: it cannot
    enter a later round.

    Args:
        grid: Flower's connection to the nodes.
        instructions: At most one per participant.
        message_type: What is asked for.
        group_id: The round, for Flower's own records.
        deadline: Seconds to wait for replies; `None` waits as long as it takes, and a message
            then lives for `FOR_EVER_SECONDS`.
        enough: Replies without a failure that end the exchange before all are there.
        window: Look only for replies to so many instructions, counted from the first that is not
            answered, and leave the others in Flower's keeping: who handles replies in the order
            of the instructions then never holds more than these. `None` looks for all.

    Yields:
        One reply per instruction, in the order of arrival, the failures among them.
    """
    enough = len(instructions) if enough is None else enough
    pending = _Pending(grid, instructions, message_type, group_id, deadline)
    succeeded = 0
    while pending and succeeded < enough:
        late = pending.late()
        yield from pending.send()
        looked = time.monotonic()
        asked = pending.within(window)
        arrived = list(grid.pull_messages(asked)) if asked else []
        for message in arrived:
            if succeeded >= enough:
                break  # of those that arrived together, too
            succeeded += not message.has_error()
            yield pending.answered(message)
        if late and succeeded < enough:  # that was the last look for these
            yield from pending.give_up(asked, f"no reply within the deadline of {deadline:g} s")
        elif asked and not arrived:
            pause = (time.monotonic() - looked) / _POLL_SHARE
            time.sleep(min(max(pause, _POLL_MIN_SECONDS), _POLL_MAX_SECONDS))
    yield from pending.give_up(None, f"{succeeded} others were faster, and no more are needed")


class _Pending:
    """The instructions of one exchange that have no reply yet, in their order."""

    def __init__(
        self,
        grid: Grid,
        instructions: Sequence[Instruction],
        message_type: MessageType,
        group_id: str,
        deadline: float | None,
    ) -> None:
        self._grid = grid
        self._message_type = message_type
        self._group_id = group_id
        self._deadline = deadline
        self._start = time.monotonic()
        self._most_sent = num_outstanding(grid) or len(instructions)
        self._unsent = deque(enumerate(instructions))
        # By message id, in the order of the instructions: which one it is, and whose.
        self._sent: dict[str, tuple[int, GridClientProxy]] = {}

    def __bool__(self) -> bool:
        return bool(self._sent or self._unsent)

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def late(self) -> bool:
        return self._deadline is not None and self.seconds() >= self._deadline

    def send(self) -> Iterator[Reply]:
        """Send what may be sent now; yield who could not be reached, or is not to be any more."""
        left = None if self._deadline is None else self._deadline - self.seconds()
        if left is not None and left <= 0:
            yield from self._unsent_given_up(
                f"no reply within the deadline of {self._deadline:g} s"
            )
            return
        number = min(len(self._unsent), self._most_sent - len(self._sent))
        batch = [self._unsent.popleft() for _ in range(number)]
        if not batch:
            return
        messages = [
            Message(
                instruction.content,
                dst_node_id=instruction.proxy.node_id,
                message_type=self._message_type.value,
                group_id=self._group_id,
                ttl=FOR_EVER_SECONDS if left is None else left,
            )
            for _, instruction in batch
        ]
        reached = {message_id for message_id in self._grid.push_messages(messages) if message_id}
        for message, (index, instruction) in zip(messages, batch, strict=True):
            if message.metadata.message_id in reached:
                self._sent[message.metadata.message_id] = (index, instruction.proxy)
            else:
                yield Reply(instruction.proxy, None, "its node could not be reached", 0.0)

    def within(self, window: int | None) -> set[str]:
        """Return the messages to look for replies to."""
        if window is None or not self._sent:
            return set(self._sent)
        first = next(iter(self._sent.values()))[0]
        return {sent for sent, (index, _) in self._sent.items() if index < first + window}

    def answered(self, message: Message) -> Reply:
        _, proxy = self._sent.pop(message.metadata.reply_to_message_id)
        return _reply(proxy, message, self.seconds())

    def give_up(self, messages: set[str] | None, reason: str) -> Iterator[Reply]:
        """Expect no reply to these messages any more; `None`: to any, nor send the rest."""
        for message_id in list(self._sent):
            if messages is None or message_id in messages:
                yield Reply(self._sent.pop(message_id)[1], None, reason, self.seconds())
        if messages is None:
            yield from self._unsent_given_up(reason)

    def _unsent_given_up(self, reason: str) -> Iterator[Reply]:
        while self._unsent:
            _, instruction = self._unsent.popleft()
            yield Reply(instruction.proxy, None, reason, self.seconds())


def _reply(proxy: GridClientProxy, message: Message, seconds: float) -> Reply:
    if message.has_error():
        reason = (message.error.reason or f"error {message.error.code}").strip()
        return Reply(proxy, None, reason.splitlines()[0][:_REASON_LENGTH], seconds)
    return Reply(proxy, message.content, None, seconds)
