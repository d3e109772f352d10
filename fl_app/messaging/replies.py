"""What participants answer: decoded, and put in the words of the reports."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from logging import WARNING
from typing import Any, TypeVar

import numpy as np
from flwr.app import RecordDict
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Scalar, Status
from flwr.common.logger import log

from fl_app.core.metrics import LOSS, Metric, Sum, decode, finished, merge
from fl_app.messaging.fit_config import (
    MEASURES_KEY,
    PARTICIPANT_KEY,
    RECEIVED_EXAMPLES_KEY,
    RECEIVED_MEASURES_KEY,
    TRAIN_MEASURES_KEY,
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
    failure: str | None,
    reply: Reply,
    answer: FitRes | None,
    bytes_up: int,
    bytes_down: int,
    known: Mapping[str, Metric],
) -> ParticipantReport:
    """Put what became of one participant's training in the words of the reports.

    `known` are the task's metrics.
    """
    metrics = {} if answer is None else answer.metrics
    trained = finished(known, sums_in(metrics, TRAIN_MEASURES_KEY, known))
    return ParticipantReport(
        participant=participant_of(reply.proxy),
        failure=failure,
        num_examples=None if answer is None else answer.num_examples,
        train_loss=trained.pop(LOSS, None),
        train_metrics=trained,
        update_norm=as_number(metrics.get("update-norm")),
        train_seconds=as_number(metrics.get("train-seconds")),
        round_trip_seconds=reply.seconds,
        bytes_up=bytes_up,
        bytes_down=bytes_down,
    )


def evaluation_in(result: FitRes) -> EvaluateRes | None:
    """Return the evaluation of the received model that came with a training's answer.

    Its loss is NaN where the participant says nothing of it that can be used.
    """
    measures = result.metrics.get(RECEIVED_MEASURES_KEY)
    examples = result.metrics.get(RECEIVED_EXAMPLES_KEY)
    if not isinstance(measures, str) or not isinstance(examples, int):
        return None
    loss = finished({}, sums_in(result.metrics, RECEIVED_MEASURES_KEY, {})).get(LOSS, math.nan)
    return EvaluateRes(Status(Code.OK, ""), loss, examples, {MEASURES_KEY: measures})


def sums_in(metrics: Mapping[str, Scalar], key: str, known: Mapping[str, Metric]) -> dict[str, Sum]:
    """Return what a participant has measured, as far as its metrics can be worked out.

    Args:
        metrics: What it sent; may be nonsense, which is logged.
        key: Where it stands.
        known: The task's metrics; others are not taken in.
    """
    if key not in metrics:
        return {}
    name, found = str(metrics.get(PARTICIPANT_KEY, "?")), {}
    try:
        sums = decode(metrics[key])
    except (ValueError, RecursionError) as error:
        log(WARNING, "%s of participant %s: %s", key, name, error)
        return {}
    for metric in sums.keys() & {*known, LOSS}:
        if _finished_one(metric, sums[metric], known, f"{key} of participant {name}") is not None:
            found[metric] = sums[metric]
    return found


def _finished_one(
    name: str, one: Sum, known: Mapping[str, Metric], whose: str
) -> dict[str, float] | None:
    """Work out one metric; `None`, with a line in the log, where that fails.

    A task's `finish` is written for sums of its own, and what it raises for others is anything.
    """
    try:
        return finished(known, {name: one})
    except Exception as error:
        log(WARNING, "%s: %s cannot be worked out: %s", whose, name, type(error).__name__)
        return None


def merged_metrics(
    key: str, known: Mapping[str, Metric], replies: Sequence[tuple[int, Mapping[str, Scalar]]]
) -> dict[str, Scalar]:
    """Work out the metrics of all participants together, in the form that Flower's strategies take.

    What is not finite does not count, nor what has no weight, or another shape than the sums of
    most participants.

    Args:
        key: Where the sums stand in what a participant sent.
        known: The task's metrics.
        replies: Pairs of number of examples and what a participant sent.
    """
    by_name: dict[str, list[Sum]] = {}
    for _, metrics in replies:
        for name, one in sums_in(metrics, key, known).items():
            if one.weight > 0 and np.isfinite(one.total).all():
                by_name.setdefault(name, []).append(one)
    values: dict[str, Scalar] = {}
    for name in [*known, LOSS]:
        if sums := by_name.get(name):
            one = _merged_alike(name, sums)
            values |= _finished_one(name, one, known, "all participants together") or {}
    return values


def _merged_alike(name: str, sums: Sequence[Sum]) -> Sum:
    """Add up the sums that have the shape of most."""
    [(shape, count)] = Counter(one.total.shape for one in sums).most_common(1)
    if count < len(sums):
        line = "%s: %s of %s participants sent sums of another shape, which do not count"
        log(WARNING, line, name, len(sums) - count, len(sums))
    return merge({name: one} for one in sums if one.total.shape == shape)[name]
