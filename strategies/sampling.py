"""Who takes part in a round."""

from collections.abc import Iterable

import numpy as np

from strategies.updates import participant_order

# Keeps the stream of random numbers apart from the others derived from the same seed.
_SAMPLING_STREAM = 0x5A3B


def sample_participants(
    participants: Iterable[str], num_sampled: int, *, seed: int, server_round: int
) -> list[str]:
    """Draw participants for a round without replacement.

    The draw depends on the names, the seed and the round alone: not on the order in which
    participants connected, nor on earlier draws, so that a resumed run samples as an
    uninterrupted one.

    Args:
        participants: The names of those available, in any order.
        num_sampled: How many to draw; all of them if there are fewer.
        seed: The seed of the run.
        server_round: The round, 1-based.

    Returns:
        The names drawn, sorted.
    """
    available = sorted(set(participants), key=participant_order)
    if num_sampled >= len(available):
        return available
    generator = np.random.default_rng([_SAMPLING_STREAM, seed, server_round])
    drawn = generator.choice(len(available), size=num_sampled, replace=False)
    return [available[index] for index in sorted(drawn.tolist())]
