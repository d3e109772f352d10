"""Metrics of participants, averaged over examples."""

import math
from collections.abc import Mapping, Sequence

Scalar = bool | bytes | float | int | str


def weighted_average(metrics: Sequence[tuple[int, Mapping[str, Scalar]]]) -> dict[str, Scalar]:
    """Average every numeric metric over examples.

    Args:
        metrics: A pair of number of examples and metrics per participant.

    Returns:
        For each metric, sum(n_i * m_i) / sum(n_i) over the participants that report it as
        a finite number. What is not a number (a name, a flag) has no average and is left out.
    """
    totals: dict[str, float] = {}
    examples: dict[str, int] = {}
    for num_examples, values in metrics:
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value) or num_examples <= 0:
                continue
            totals[name] = totals.get(name, 0.0) + num_examples * value
            examples[name] = examples.get(name, 0) + num_examples
    return {name: total / examples[name] for name, total in totals.items()}
