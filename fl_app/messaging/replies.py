"""What participants answer: decoded, and put in the words of the reports."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from logging import WARNING
from typing import Any, TypeVar

from flwr.app import RecordDict
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Scalar, Status
from flwr.common.logger import log

from fl_app.messaging.fit_config import (
    PARTICIPANT_KEY,
    RECEIVED_ACCURACY_KEY,
    RECEIVED_EXAMPLES_KEY,
    RECEIVED_LOSS_KEY,
)
from fl_app.messaging.transport import Reply
from fl_app.results.records import ParticipantReport, as_number
from strategies.core.clients import participant_of

Answer = TypeVar("Answer", FitRes, EvaluateRes)


def num_bytes(parameters: Parameters) -> int:
    """Return the bytes that the arrays of `parameters` take on the wire."""
    return sum(len(tensor) for tensor in parameters.tensors)


def without_parameters(result: FitRes) -> FitRes:
    """Return what a participant says of its training, without the update, which may be large."""
    return replace(result, parameters=Parameters([], ""))


def decode_reply(
    reply: Reply, decode: Callable[[RecordDict], Answer]
) -> tuple[Reply, Answer | None]:
    """Decode what was answered; who sent something else has failed, like who sent nothing.

    Returns:
        The reply without its content, which may be large, and the answer in it.
    """
    if reply.content is None:
        return reply, None
    try:
        answer = decode(reply.content)
        if answer.status.code != Code.OK:
            raise ValueError(answer.status.message or answer.status.code.name)
        _check_name(reply, answer)
    except (KeyError, TypeError, ValueError) as error:
        name, failure = participant_of(reply.proxy), f"its reply cannot be used: {error!r}"
        log(WARNING, "participant %s: %s", name, failure)
        return replace(reply, content=None, failure=failure), None
    return replace(reply, content=None), answer


def _check_name(reply: Reply, answer: FitRes | EvaluateRes) -> None:
    """Refuse the answer of somebody else than was meant; not everybody says who it is."""
    expected = participant_of(reply.proxy)
    name = answer.metrics.get(PARTICIPANT_KEY, expected)
    if name != expected:
        raise ValueError(f"it comes from participant {name!r}")


def as_exceptions(replies: Sequence[Reply]) -> list[Any]:
    """Return the failures in the form that Flower's strategies take."""
    return [
        RuntimeError(f"{participant_of(reply.proxy)}: {reply.failure}")
        for reply in replies
        if reply.failure is not None
    ]


def describe_one(
    failure: str | None, reply: Reply, answer: FitRes | None, bytes_up: int, bytes_down: int
) -> ParticipantReport:
    """Put what became of one participant's training in the words of the reports."""
    metrics = {} if answer is None else answer.metrics
    return ParticipantReport(
        participant=participant_of(reply.proxy),
        failure=failure,
        num_examples=None if answer is None else answer.num_examples,
        train_loss=as_number(metrics.get("train-loss")),
        train_accuracy=as_number(metrics.get("train-accuracy")),
        update_norm=as_number(metrics.get("update-norm")),
        train_seconds=as_number(metrics.get("train-seconds")),
        round_trip_seconds=reply.seconds,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
    )


def evaluation_in(result: FitRes) -> EvaluateRes | None:
    """Return the evaluation of the received model that came with a training's answer."""
    metrics = result.metrics
    loss, examples = metrics.get(RECEIVED_LOSS_KEY), metrics.get(RECEIVED_EXAMPLES_KEY)
    if not isinstance(loss, float) or not isinstance(examples, int):
        return None
    accuracy = as_number(metrics.get(RECEIVED_ACCURACY_KEY))
    found: dict[str, Scalar] = {} if accuracy is None else {"accuracy": accuracy}
    return EvaluateRes(Status(Code.OK, ""), loss, examples, found)
