"""What surrounds a participant's work, whatever the work is: failures and deadlines."""

import signal
import threading
import time
from logging import ERROR

from flwr.app import Context, Error, Message
from flwr.common.logger import log

from fl_app.core.errors import ConfigError, UserError
from fl_app.messaging.flower_compat import CLIENT_APP_FAILED, ClientAppCallable


class RoundOver(UserError):  # noqa: N818 - says what happened, and nobody is at fault
    """The round's deadline passed before this participant was done."""


def report_failures(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer with the cause when the participant fails, instead of a bare "crashed"."""
    try:
        return call_next(message, context)
    except Exception as error:
        node = context.node_config
        who = node.get("name", node.get("partition-id", context.node_id))
        expected = isinstance(error, UserError)
        cause = str(error) if expected else f"{type(error).__name__}: {error}"
        log(ERROR, "participant %s: %s", who, cause, exc_info=None if expected else error)
        if "data" in node and not isinstance(error, ConfigError | RoundOver):
            # What an error says of a participant's own data (a file's name may be a person's)
            # stays on its node.
            cause = f"{type(error).__name__}; its own log says more"
        return Message(Error(CLIENT_APP_FAILED, cause), reply_to=message)


def give_up_at_deadline(
    message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """Stop working for a round that is over, so that the worker is free for the next.

    The deadline is the message's own (its time to live): the server will not read a later
    reply. It is kept by an alarm signal, which interrupts Python code and system calls; a
    process of another kind, or a thread, is not interrupted. Clocks of server and
    participants must agree to within the deadline.
    """
    seconds = message.metadata.created_at + message.metadata.ttl - time.time()
    if seconds <= 0:
        raise RoundOver("the round was over before it could begin (is its clock right?)")
    if threading.current_thread() is not threading.main_thread():
        return call_next(message, context)

    def on_alarm(signum: int, frame: object) -> None:
        raise RoundOver("gave up at the round's deadline")

    handler = signal.signal(signal.SIGALRM, on_alarm)
    start = time.monotonic()
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call_next(message, context)
    finally:
        # Whoever had set an alarm before gets it back, with what is left of its time.
        left = max(outer - (time.monotonic() - start), 1e-3) if outer else 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left, interval)
