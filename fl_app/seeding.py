"""Every random stream of a run, derived from its one seed."""

import hashlib
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are for; keeps streams of the same seed apart."""

    INITIAL_WEIGHTS = 1
    LOCAL_TRAINING = 2


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
    if participant.isascii() and participant.isdecimal():
        key = int(participant)
    else:
        key = int.from_bytes(hashlib.sha256(participant.encode()).digest()[:16], "big")
    derived = derive_seed(Stream.LOCAL_TRAINING, seed, server_round, key)
    return torch.Generator().manual_seed(derived)
