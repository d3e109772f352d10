"""One exchange: all messages out in one call, replies in as they come."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flwr.app import Message, RecordDict
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.serverapp import Grid

from fl_app.simulation import num_outstanding

# Looking for replies takes at most this share of the time: in a simulation the processor is the
# participants', in deployment a look is a request. A look that is cheap is soon repeated.
_POLL_SHARE = 0.02
_POLL_MIN_SECONDS = 0.005
_POLL_MAX_SECONDS = 0.25

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
) -> list[Reply]:
    """Send every instruction in one call and collect the replies until the deadline.

    In a simulation, which has few workers for many nodes, the rest is sent as replies come; see
    `fl_app.simulation`. A reply that comes later is never read: it cannot enter a later round.

    Args:
        grid: Flower's connection to the nodes.
        instructions: At most one per participant.
        message_type: What is asked for.
        group_id: The round, for Flower's own records.
        deadline: Seconds to wait for replies; `None` waits as long as it takes.
        enough: Replies without a failure that end the exchange before all are there.

    Returns:
        One reply per instruction, in the order of arrival, the failures among them.
    """
    if not instructions:
        return []
    start = time.monotonic()
    waiting: dict[str, GridClientProxy] = {}
    replies: list[Reply] = []
    unsent = deque(instructions)
    at_a_time = num_outstanding(grid) or len(instructions)
    enough = len(instructions) if enough is None else enough
    succeeded = 0
    while (waiting or unsent) and succeeded < enough:
        left = None if deadline is None else deadline - (time.monotonic() - start)
        if left is not None and left <= 0:
            break
        batch = [unsent.popleft() for _ in range(min(len(unsent), at_a_time - len(waiting)))]
        if batch:
            sent, unreached = _push(grid, batch, message_type, group_id, left)
            waiting |= sent
            replies += unreached
        looked = time.monotonic()
        arrived = list(grid.pull_messages(set(waiting)))
        for message in arrived:
            if succeeded >= enough:
                break  # of those that arrived together, too
            proxy = waiting.pop(message.metadata.reply_to_message_id)
            replies.append(_reply(proxy, message, time.monotonic() - start))
            succeeded += not message.has_error()
        if waiting and not arrived:
            pause = (time.monotonic() - looked) / _POLL_SHARE
            time.sleep(min(max(pause, _POLL_MIN_SECONDS), _POLL_MAX_SECONDS))

    reason = f"no reply within the deadline of {deadline or 0:g} s"
    if succeeded >= enough:
        reason = f"{succeeded} others were faster, and no more are needed"
    elapsed = time.monotonic() - start
    missing = [*waiting.values(), *(instruction.proxy for instruction in unsent)]
    replies.extend(Reply(proxy, None, reason, elapsed) for proxy in missing)
    return replies


def _push(
    grid: Grid,
    instructions: Sequence[Instruction],
    message_type: MessageType,
    group_id: str,
    deadline: float | None,
) -> tuple[dict[str, GridClientProxy], list[Reply]]:
    """Send all at once; return who is to answer, by message id, and who was not reached."""
    messages = [
        Message(
            instruction.content,
            dst_node_id=instruction.proxy.node_id,
            message_type=message_type.value,
            group_id=group_id,
            ttl=deadline,
        )
        for instruction in instructions
    ]
    sent = {message_id for message_id in grid.push_messages(messages) if message_id}
    waiting: dict[str, GridClientProxy] = {}
    unreached: list[Reply] = []
    for message, instruction in zip(messages, instructions, strict=True):
        if message.metadata.message_id in sent:
            waiting[message.metadata.message_id] = instruction.proxy
        else:
            failure = "its node could not be reached"
            unreached.append(Reply(instruction.proxy, None, failure, 0.0))
    return waiting, unreached


def _reply(proxy: GridClientProxy, message: Message, seconds: float) -> Reply:
    if message.has_error():
        reason = (message.error.reason or f"error {message.error.code}").strip()
        return Reply(proxy, None, reason.splitlines()[0][:_REASON_LENGTH], seconds)
    return Reply(proxy, message.content, None, seconds)
