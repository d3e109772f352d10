"""Run config -> how much noise, and who adds it; for server and participants alike."""

import math
from functools import lru_cache

from fl_app.core.run_config import RunConfig
from strategies.core.clients import most_participations
from strategies.privacy.accountant import noise_multiplier_for
from strategies.privacy.clipping import Protection


def protection(config: RunConfig) -> Protection:
    """What a participant does for its own privacy."""
    share = 0.0
    if config.privacy == "distributed":
        share = noise_multiplier(config) / math.sqrt(planned_participants(config))
    return Protection(config.clip_norm, share, private=config.privacy != "none")


def planned_participants(config: RunConfig) -> int:
    """Return how many participants count in a round, as `FedAvg` reckons it."""
    return max(int(config.num_participants * config.fraction_fit), config.min_fit_clients)


def noise_multiplier(config: RunConfig) -> float:
    """Return the noise multiplier of a round: as it is set, or solved from target-epsilon.

    It is solved for the rounds of the participant whom the seed samples most often.
    """
    if config.noise_multiplier > 0:
        return config.noise_multiplier
    sampled = math.ceil(planned_participants(config) * (1 + config.over_selection))
    return _solve(
        config.target_epsilon,
        config.privacy_delta,
        (config.num_participants, min(sampled, config.num_participants)),
        config.seed,
        config.num_server_rounds,
    )


@lru_cache(maxsize=8)
def _solve(epsilon: float, delta: float, sample: tuple[int, int], seed: int, rounds: int) -> float:
    releases = most_participations(*sample, seed=seed, rounds=rounds)
    return noise_multiplier_for(epsilon, delta, releases)
