"""FedNova: participants that take different numbers of local steps, averaged without bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from strategies.aggregation.base import Aggregator
from strategies.aggregation.weighted_mean import WeightedSum, weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate, steps_of


@dataclass(frozen=True)
class NormalisedMean(Aggregator):
    """Average the deltas per local step, and go as many steps as were taken on average.

    With p_i the share of the examples and tau_i the local steps:

        delta = sum(p_i * tau_i) * sum(p_i * delta_i / tau_i)

    Equal numbers of steps give the plain weighted mean. Who takes more steps, for having more
    examples or a faster machine, no longer pulls the average towards its own optimum. Sums are
    kept in float64 and rounded once, as in `WeightedMean`; the weights are rounded to float64.

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
        steps = [steps_of(update) for update in updates]
        if len(set(steps)) == 1:
            return weighted_mean(updates)
        mean_steps = sum(u.num_examples * own for u, own in zip(updates, steps, strict=True)) / n
        total = WeightedSum(held=len(updates) + 1)
        for update, own in zip(updates, steps, strict=True):
            total.add(update, update.num_examples * (mean_steps / own))
        return total.result()
