"""One exchange: all messages out in one call, replies in as they come."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from flwr.app import Message, RecordDict
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.serverapp import Grid

# The wait between two looks for replies: a small share of what has been waited already.
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
        seconds: From sending to receiving, or to giving up.
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

    A reply that comes after the deadline is never read: it cannot enter a later round.

    Args:
        grid: Flower's connection to the nodes.
        instructions: At most one per participant.
        message_type: What is asked for.
        group_id: The round, for Flower's own records.
        deadline: Seconds to wait for replies; `None` waits as long as it takes.
        enough: Replies without a failure that end the exchange before all are there.
        window: Look only for the replies to the first so many of the unanswered instructions,
            and leave the others in Flower's keeping: who handles replies in the order of the
            instructions then never holds more than these. `None` looks for all.

    Yields:
        One reply per instruction, in the order of arrival, the failures among them.
    """
    if not instructions:
        return
    start = time.monotonic()
    waiting, unreached = _push(grid, instructions, message_type, group_id, deadline)
    yield from unreached
    enough = len(instructions) if enough is None else enough
    succeeded = 0
    while waiting and succeeded < enough:
        late = deadline is not None and time.monotonic() - start >= deadline
        asked = list(islice(waiting, window))
        arrived = list(grid.pull_messages(asked))
        for message in arrived:
            if succeeded >= enough:
                break  # of those that arrived together, too
            proxy = waiting.pop(message.metadata.reply_to_message_id)
            succeeded += not message.has_error()
            yield _reply(proxy, message, time.monotonic() - start)
        if late and succeeded < enough:  # that was the last look for these
            reason = f"no reply within the deadline of {deadline:g} s"
            missing = [waiting.pop(message_id) for message_id in asked if message_id in waiting]
            yield from _given_up(missing, reason, time.monotonic() - start)
        elif waiting and not arrived:
            waited = time.monotonic() - start
            time.sleep(min(max(waited * _POLL_SHARE, _POLL_MIN_SECONDS), _POLL_MAX_SECONDS))

    reason = f"{succeeded} others were faster, and no more are needed"
    yield from _given_up(waiting.values(), reason, time.monotonic() - start)


def _given_up(proxies: Iterable[GridClientProxy], reason: str, seconds: float) -> Iterator[Reply]:
    return (Reply(proxy, None, reason, seconds) for proxy in proxies)


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
