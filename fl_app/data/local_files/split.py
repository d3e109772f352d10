"""Hold examples out for evaluation: by class, repeatable, whatever the order of the files."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import DataError
from fl_app.data.local_files.schema import LabelledImages

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HoldOut:
    """Which examples are held out; by default none. See `hold_out`."""

    fraction: float = 0.0
    seed: int = 0
    participant: str = ""

    def of(self, data: LabelledImages) -> tuple[IntArray, IntArray]:
        """Divide examples; see `hold_out`."""
        return hold_out(data.images, data.labels, self.fraction, self.seed, self.participant)


def hold_out(
    contents: npt.NDArray[Any], labels: IntArray, fraction: float, seed: int, participant: str
) -> tuple[IntArray, IntArray]:
    """Divide examples into those to train on and those to evaluate on.

    An example's place is decided by a hash of seed, participant and its contents, so neither the
    names of the files nor their order matter, and a few new examples move few of the old.

    Args:
        contents: Of all examples, [N, ...]: pixels, or a digest of a row.
        labels: Their classes, int64 [N].
        fraction: Share to hold out, in [0, 1); 0 holds out none, anything else at least one.
        seed: Of the run.
        participant: Name of the participant.

    Returns:
        Two ascending int64 arrays, for training and for evaluation; together 0 .. N-1. Each
        class that is there keeps an example for training.

    Raises:
        DataError: If `fraction` is out of range, or no class has two examples.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"The share to hold out is {fraction}; it must be from 0 to less than 1.")
    key = hashlib.sha256(f"hold-out/{seed}/{participant}".encode()).digest()
    held: list[IntArray] = []
    counts = np.bincount(labels)
    for label, quota in enumerate(_quotas(counts, fraction)):
        members = np.flatnonzero(labels == label)
        ranks = [_rank(key, contents[index]) for index in members] if quota else []
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        held.append(members[order[:quota]])
    test = np.sort(np.concatenate(held)).astype(np.int64)
    train = np.setdiff1d(np.arange(len(labels), dtype=np.int64), test)
    return train, test


def _rank(key: bytes, content: npt.NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(content).data, key=key, digest_size=16).digest()


def _quotas(counts: IntArray, fraction: float) -> list[int]:
    """Return how many of each class to hold out, by largest remainders."""
    if fraction == 0:
        return [0] * len(counts)
    wanted, most = fraction * counts, np.maximum(counts - 1, 0)
    if not most.any():
        raise DataError(
            f"There are too few examples ({int(counts.sum())}, at most one per class) to hold out "
            f"{fraction:.0%} for evaluation. Add examples, or give test data of its own."
        )
    quotas = np.minimum(np.floor(wanted).astype(np.int64), most)
    total = min(max(1, round(fraction * int(counts.sum()))), int(most.sum()))
    while quotas.sum() < total:
        quotas[np.where(quotas < most, wanted - quotas, -np.inf).argmax()] += 1
    return [int(quota) for quota in quotas]
