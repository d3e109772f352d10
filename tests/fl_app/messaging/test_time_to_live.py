"""How long messages live: to the round's deadline, or for ever."""

import signal
import time
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.server.superlink.linkstate.utils import message_ttl_has_expired
from flwr.server.utils.validator import validate_message

from fl_app.messaging.client_mods import give_up_at_deadline
from fl_app.messaging.transport import FOR_EVER_SECONDS
from tests.fl_app.messaging.test_transport import CountingGrid, echo_app, send


def sent_with(**arguments: Any) -> list[Message]:
    sent: list[Message] = []

    class Recording(CountingGrid):
        def push_messages(self, messages: Any) -> Any:
            sent.extend(messages)
            return super().push_messages(sent)

    send(Recording(echo_app(), {}, 1), **arguments)
    return sent


def test_without_a_deadline_no_message_dies_of_old_age():
    """Flower lets a message without a time to live die after 12 hours, on both ways."""
    (message,) = sent_with(deadline=None)

    assert message.metadata.ttl > 365 * 24 * 3600
    message.metadata.created_at -= 30 * 24 * 3600.0  # a month ago
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.created_at + reply.metadata.ttl > time.time() + 24 * 3600
    (short,) = sent_with(deadline=5.0)
    assert short.metadata.ttl <= 5.0


def test_flower_neither_refuses_nor_drops_a_message_that_lives_so_long():
    """By the rules of Flower's own store, for a message and its reply, a month later."""
    a_month = 30 * 24 * 3600.0
    (without,) = sent_with(deadline=None)
    default = Message(RecordDict(), dst_node_id=5, message_type="train")

    assert not message_ttl_has_expired(without.metadata, time.time() + a_month)
    assert message_ttl_has_expired(default.metadata, time.time() + a_month)
    assert "ttl" not in str(validate_message(without, is_reply_message=False)).lower()


def test_a_participant_works_for_a_message_without_a_deadline():
    """The alarm is set to years from now, which the system has to take."""
    sent = Message(RecordDict(), dst_node_id=5, message_type="train", ttl=FOR_EVER_SECONDS)
    context = Context(1, 2, {}, RecordDict(), {})

    def work(message: Message, context: Context) -> Message:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert left > 365 * 24 * 3600
        return Message(RecordDict(), reply_to=message)

    assert give_up_at_deadline(sent, context, work).has_content()
