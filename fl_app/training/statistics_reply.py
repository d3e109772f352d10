"""What a participant answers when the server asks for statistics of its examples; see `Task`."""

import math

import numpy as np
from flwr.common import NDArrays, Scalar

from fl_app.core.errors import ConfigError
from fl_app.messaging.fit_config import PARTICIPANT_KEY, STATISTICS_KEY
from fl_app.tasks.agreement import Statistics, encode_words
from fl_app.tasks.client_data import LocalTask, own_source
from strategies.core.client_update import DELTA, UPDATE_KEY


def local_statistics(local: LocalTask) -> Statistics:
    """Work out what the task asks for, unless the run config promises that nothing of it leaves.

    Raises:
        ConfigError: If privacy is on, nothing is asked, or masks are on and it is no bounded sums.
        DataError: If the participant's data cannot be used.
    """
    config, question = local.config, local.task.to_agree()
    if question is None:
        raise ConfigError("the server asks for statistics, and all is agreed already")
    if config.privacy != "none":
        raise ConfigError(
            f"the server asks for statistics, which would leave without noise, but privacy = "
            f"{config.privacy!r}; tell {question.what} in the options of the task"
        )
    if config.secure_aggregation and question.not_by_masks:
        raise ConfigError(
            "the server asks for statistics that masks cannot hide, but secure-aggregation is on: "
            f"{question.not_by_masks}"
        )
    return local.task.local_statistics(own_source(local.node_config, config))


def statistics_reply(
    statistics: Statistics, local: LocalTask
) -> tuple[NDArrays, int, dict[str, Scalar]]:
    """Put statistics into the form of an answer to a message to train.

    Under masks that is a mean over the examples, in a vector no longer than clip-norm: the masks
    add up vectors weighted by numbers of examples, and a sum with a longer one is not taken.

    Raises:
        ConfigError: If a masked sum is further from 0 than the number of examples.
    """
    sums, count, config = statistics.sums, statistics.num_examples, local.config
    told: dict[str, Scalar] = {PARTICIPANT_KEY: local.name}
    if not config.secure_aggregation:
        return [sums], count, told | {STATISTICS_KEY: encode_words(statistics.words)}
    means = sums / count
    if statistics.words or not np.abs(means).max(initial=0.0) <= 1:
        raise ConfigError("the statistics are no sums of numbers from -1 to 1, as masks need them")
    masked = means * masked_scale(config.clip_norm, len(means))
    return (
        [masked],
        count,
        told | {UPDATE_KEY: DELTA},
    )  # in the protocol, whatever is masked is a delta


def masked_scale(clip_norm: float, num_sums: int) -> float:
    """Return what means within 1 of 0 are multiplied by, so that their norm is clip-norm at most.

    Args:
        clip_norm: The run's.
        num_sums: How many means there are, positive.
    """
    return clip_norm / math.sqrt(num_sums)
