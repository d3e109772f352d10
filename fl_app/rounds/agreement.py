"""What participants agree on before round 1: asked of everybody once, as sums."""

from collections.abc import Mapping, Sequence
from logging import INFO, WARNING
from typing import cast

import numpy as np
from flwr.common import FitIns, FitRes, Parameters, Scalar
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager, SimpleClientManager
from flwr.serverapp import Grid

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.run_config import RunConfig
from fl_app.messaging.client_registry import ClientRegistry
from fl_app.messaging.fit_config import AGREEMENT_KEY, DATASET_KEY, NUM_EXAMPLES_KEY, STATISTICS_KEY
from fl_app.messaging.flower_compat import (
    GridClientProxy,
    fitins_to_recorddict,
    recorddict_to_fitres,
)
from fl_app.messaging.replies import decode_reply
from fl_app.messaging.transport import Instruction, MessageType, exchange
from fl_app.secure_aggregation.server import SecureTraining
from fl_app.secure_aggregation.settings import secure_settings
from fl_app.tasks.agreement import Merged, Question, Statistics, merge_statistics, read_statistics
from fl_app.tasks.task import Task
from fl_app.training.statistics_reply import masked_scale
from strategies.core.client_update import participant_order
from strategies.core.clients import participant_of
from strategies.core.npy import decode_arrays

_MOST_QUESTIONS = 10


class NoAgreementError(UserError):
    """Too few participants told of their examples for a run to begin."""


def check_agreement(config: RunConfig, task: Task) -> None:
    """Refuse a run whose participants would have to show what its config promises to hide.

    Raises:
        ConfigError: Says which options of the task would say it instead.
    """
    question = task.to_agree()
    if question is None:
        return
    if config.privacy != "none":
        raise ConfigError(
            f"run config: privacy = {config.privacy!r}: what participants tell of their examples "
            f"before round 1 would have no noise, so task = {config.task!r} has to say it: "
            f"{question.what}"
        )
    if config.secure_aggregation and question.not_by_masks:
        raise ConfigError(
            "run config: secure-aggregation = true: before round 1 participants tell sums under "
            f"masks only, so task = {config.task!r} has to say more: {question.not_by_masks}"
        )


def ask_participants(grid: Grid, task: Task, config: RunConfig, dataset: str) -> str:
    """Let the participants agree on what their task needs; the task takes it in.

    Whoever cannot answer is named in the log, and may still train.

    Args:
        grid: Flower's connection to the nodes.
        task: Has something to agree on.
        config: The run config.
        dataset: The set that the server resolved.

    Returns:
        The agreement.

    Raises:
        QuorumError: If too few participants connect.
        NoAgreementError: If too few of them answer.
        UserError: If the task can make nothing of what they say.
    """
    manager, text = SimpleClientManager(), ""
    participants = ClientRegistry(grid, manager, dataset)
    participants.wait_for(config.num_participants, config.quorum_deadline or None)
    for number in range(1, _MOST_QUESTIONS + 1):
        question = task.to_agree()
        if question is None:
            return text
        line = "exchange %s before round 1: the participants tell %s sums and names"
        log(INFO, line, number, question.num_sums)
        told: dict[str, Scalar] = {
            DATASET_KEY: dataset,
            AGREEMENT_KEY: text,
            STATISTICS_KEY: True,
        }
        merged = _collect(grid, manager, config, question, told)
        text = task.agree(merged)
        task.take_agreement(text)
    raise ConfigError(f"{type(task).__name__} asks for more than {_MOST_QUESTIONS} exchanges")


def _collect(
    grid: Grid,
    manager: ClientManager,
    config: RunConfig,
    question: Question,
    told: Mapping[str, Scalar],
) -> Merged:
    proxies = sorted(
        cast(Mapping[str, GridClientProxy], manager.all()).values(),
        key=lambda proxy: participant_order(participant_of(proxy)),
    )
    instruction = FitIns(Parameters([], "numpy.ndarray"), dict(told))
    if config.secure_aggregation:
        return _under_masks(grid, manager, config, question, [(p, instruction) for p in proxies])
    instructions = [Instruction(p, fitins_to_recorddict(instruction, True)) for p in proxies]
    found: dict[str, Statistics] = {}
    deadline = config.round_deadline or None
    for reply in exchange(grid, instructions, MessageType.TRAIN, "0", deadline):
        name, failure = participant_of(reply.proxy), reply.failure
        answered, result = decode_reply(reply, lambda content: recorddict_to_fitres(content, False))
        if result is None:
            log(WARNING, "participant %s did not say: %s", name, failure or answered.failure)
            continue
        try:
            found[name] = _statistics(result, question)
        except ValueError as error:
            log(WARNING, "participant %s: its answer cannot be used: %s", name, error)
    needed = max(1, config.min_fit_clients)
    if len(found) < needed:
        raise NoAgreementError(
            f"{len(found)} of {len(proxies)} participants told of their examples before round 1, "
            f"{needed} must (min-fit-clients); the logs of the others' nodes say why they did not"
        )
    return merge_statistics([found[name] for name in sorted(found, key=participant_order)])


def _statistics(result: FitRes, question: Question) -> Statistics:
    arrays = decode_arrays(result.parameters.tensors)
    words = result.metrics.get(STATISTICS_KEY)
    return read_statistics(result.num_examples, arrays, words, question)


def _under_masks(
    grid: Grid,
    manager: ClientManager,
    config: RunConfig,
    question: Question,
    configured: Sequence[tuple[GridClientProxy, FitIns]],
) -> Merged:
    """Collect means under masks, as a round collects deltas; it is round 0."""
    settings = secure_settings(config)
    assert settings is not None
    training = SecureTraining(grid, manager, settings, config.round_deadline or None)
    collected = training.collect(0, [np.zeros(question.num_sums, np.float32)], configured)
    for reply in collected.replies:
        if reply.failure is not None:
            name = participant_of(reply.proxy)
            log(WARNING, "participant %s did not say: %s", name, reply.failure)
    if collected.mean is None:
        raise NoAgreementError(
            "secure aggregation gave no sum of what participants tell of their examples before "
            "round 1; the lines above say why"
        )
    counts = [int(str(p.properties[NUM_EXAMPLES_KEY])) for p, _ in collected.results]
    means = collected.mean[0].astype(np.float64)
    means /= masked_scale(settings.clip_norm, question.num_sums)
    return Merged(len(counts), sum(counts), means * sum(counts))
