"""Every random stream of a run, derived from its one seed."""

import hashlib
from enum import IntEnum

import numpy as np
import torch

_LONGEST_ID = 18


class Stream(IntEnum):
    """What random numbers are for; keeps streams of the same seed apart."""

    INITIAL_WEIGHTS = 1
    LOCAL_TRAINING = 2
    CODEC = 3
    LIES = 4
    SECURE_ROUNDING = 5


def derive_seed(stream: Stream, *keys: int) -> int:
    """Hash a stream and its keys, for instance (seed, round, partition), to 63 bits.

    Source: NumPy's SeedSequence, which mixes so that related keys give unrelated seeds.
    """
    state = np.random.SeedSequence([int(stream), *keys]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def training_generator(seed: int, server_round: int, participant: str) -> torch.Generator:
    """Return the generator of one participant's training in one round.

    Args:
        seed: The seed of the run.
        server_round: The round, 1-based.
        participant: Its name; in simulation the partition id, "0", "1", ...
    """
    derived = derive_seed(Stream.LOCAL_TRAINING, seed, server_round, _key_of(participant))
    return torch.Generator().manual_seed(derived)


def numpy_generator(
    stream: Stream, seed: int, server_round: int, participant: str
) -> np.random.Generator:
    """Return a generator of one participant in one round.

    Args:
        stream: What the random numbers are for.
        seed: The seed of the run.
        server_round: The round, 1-based.
        participant: Its name; in simulation the partition id, "0", "1", ...
    """
    return np.random.default_rng(derive_seed(stream, seed, server_round, _key_of(participant)))


def _key_of(participant: str) -> int:
    # A partition id is its own key. "007" is a name, and another participant than "7".
    number = participant.isascii() and participant.isdecimal() and len(participant) <= _LONGEST_ID
    if number and participant == str(int(participant)):
        return int(participant)
    return int.from_bytes(hashlib.sha256(participant.encode()).digest()[:16], "big")
