import signal
import threading
import time

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fl_app.core.errors import ConfigError, DataError, UserError
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures


@pytest.fixture
def context():
    return Context(1, 2, {"partition-id": 3}, RecordDict(), {})


def instruction(ttl=60.0):
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0
    return Message(RecordDict(), dst_node_id=2, message_type="train", ttl=ttl)


def answer(message, context):
    return Message(RecordDict(), reply_to=message)


def test_a_failure_is_answered_with_its_cause_and_logged_by_name(context, caplog):
    def fail(message, context):
        raise ZeroDivisionError("no examples")

    reply = report_failures(instruction(), context, fail)

    assert reply.has_error()
    assert reply.error.reason == "ZeroDivisionError: no examples"
    assert "participant 3: ZeroDivisionError" in caplog.text
    assert "Traceback" in caplog.text


def test_a_user_error_is_told_in_a_sentence(context, caplog):
    def fail(message, context):
        raise ConfigError("partition-id is missing")

    reply = report_failures(instruction(), context, fail)

    assert reply.error.reason == "partition-id is missing"
    assert "Traceback" not in caplog.text


def test_what_an_error_says_of_own_data_stays_on_the_node(context, caplog):
    def fail(message, context):
        raise DataError("/data/jane-doe.png is damaged")

    context.node_config["data"] = "/data"
    reply = report_failures(instruction(), context, fail)

    assert reply.error.reason == "DataError; its own log says more"
    assert "jane-doe" in caplog.text


def test_a_participant_that_sleeps_gives_up_at_the_deadline(context):
    def sleep(message, context):
        time.sleep(3600)

    start = time.monotonic()
    with pytest.raises(UserError, match="gave up at the round's deadline"):
        give_up_at_deadline(instruction(ttl=0.2), context, sleep)
    assert time.monotonic() - start < 5


def test_a_round_that_is_over_is_not_begun(context):
    message = instruction(ttl=0.01)
    time.sleep(0.05)
    with pytest.raises(UserError, match="over before it could begin"):
        give_up_at_deadline(message, context, lambda *_: pytest.fail("it was begun"))


def test_nothing_is_left_ticking_after_a_reply(context):
    before = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert give_up_at_deadline(instruction(), context, answer).has_content()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_that_was_set_before_is_kept(context):
    outer = signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        give_up_at_deadline(instruction(), context, answer)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 490 < left <= 500
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_another_thread_is_served_without_an_alarm(context):
    replies = []
    message = instruction()
    thread = threading.Thread(
        target=lambda: replies.append(give_up_at_deadline(message, context, answer))
    )
    thread.start()
    thread.join()
    assert replies[0].has_content()
