"""Who takes part in a round."""

from collections import Counter
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


def most_participations(num_available: int, num_sampled: int, *, seed: int, rounds: int) -> int:
    """Return in how many of the first rounds the participant drawn most often takes part.

    The draw knows participants by their place in the sorted names, so the number does not
    depend on what they are called.

    Args:
        num_available: Participants in every round.
        num_sampled: How many are drawn in a round.
        seed: The seed of the run.
        rounds: The number of rounds, at least 1.
    """
    names = [str(place) for place in range(num_available)]
    drawn = Counter(
        name
        for server_round in range(1, rounds + 1)
        for name in sample_participants(names, num_sampled, seed=seed, server_round=server_round)
    )
    return max(drawn.values())
