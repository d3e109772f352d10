"""FedNova: participants that take different numbers of local steps, averaged without bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from strategies.aggregation.base import Aggregator
from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate, steps_of


@dataclass(frozen=True)
class NormalisedMean(Aggregator):
    """Average the deltas per local step, and go as many steps as were taken on average.

    With p_i the share of the examples and tau_i the local steps:

        delta = sum(p_i * tau_i) * sum(p_i * delta_i / tau_i)

    Equal numbers of steps give the plain weighted mean. Who takes more steps, for having more
    examples or a faster machine, no longer pulls the average towards its own optimum.

    Source: Wang et al., NeurIPS 2020, arXiv:2007.07481, section 4.
    """

    needs_local_steps: ClassVar[bool] = True

    def __call__(self, updates: Sequence[ClientUpdate]) -> Arrays:
        """Aggregate.

        Args:
            updates: Checked updates that tell their numbers of local steps.

        Returns:
            One array per parameter, in model order, with the dtypes of the updates.

        Raises:
            AggregationError: If `updates` is empty, or their arrays differ in number or shape.
            UpdateError: If a participant does not tell its number of local steps.
        """
        if not updates:
            raise AggregationError("there is no update to aggregate")
        n = sum(update.num_examples for update in updates)
        mean_steps = sum(update.num_examples * steps_of(update) for update in updates) / n
        return weighted_mean([_rescaled(update, mean_steps) for update in updates])


def _rescaled(update: ClientUpdate, mean_steps: float) -> ClientUpdate:
    """Return the update as if its participant had taken the mean number of steps."""
    factor = mean_steps / steps_of(update)
    delta: Arrays = [d * np.asarray(factor, d.dtype) for d in update.delta]
    return ClientUpdate(update.participant, delta, update.num_examples, mean_steps)
