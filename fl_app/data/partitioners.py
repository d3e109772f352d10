"""Partitioners: labels, number of participants n and seed in, one index array each out.

A partitioner is a pure function of its arguments and gives every example to exactly one
participant. One of your own is named in the run config like any part,
`partitioner = "/home/me/parts.py:by_hospital(strength=2)"`.
The random ones use Flower Datasets' partitioners, over labels alone and in memory, and differ
from them where those would lose examples.
"""

import random
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from fl_app.core.errors import ConfigError

IntArray = npt.NDArray[np.int64]
Labels = npt.NDArray[np.integer[Any]]


def contiguous(labels: Labels, n: int, _seed: int) -> list[IntArray]:
    """Equal ranges: participant i of n holds [i*N//n, (i+1)*N//n)."""
    bounds = [i * len(labels) // n for i in range(n + 1)]
    return [np.arange(bounds[i], bounds[i + 1]) for i in range(n)]


def iid(labels: Labels, n: int, seed: int) -> list[IntArray]:
    """Equal parts of a shuffle (the library's partitioner does not shuffle)."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return [shuffled[part] for part in _library_parts("IidPartitioner", labels, num_partitions=n)]


def linear(labels: Labels, n: int, seed: int) -> list[IntArray]:
    """Of a shuffle, participant i gets i+1 units rounded down; the last also the remainder."""
    if n * (n + 1) // 2 > len(labels):
        largest = int((np.sqrt(8 * len(labels) + 1) - 1) // 2)
        raise refusal("num-participants", n, f"at most {largest} with partitioner = 'linear'")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    return [
        shuffled[part] for part in _library_parts("LinearPartitioner", labels, num_partitions=n)
    ]


def dirichlet(labels: Labels, n: int, seed: int, *, alpha: float) -> list[IntArray]:
    """Divide each class in proportions drawn from Dirichlet(alpha); small alpha, large skew.

    A draw that leaves a participant without examples is repeated, up to ten times.

    Source: Yurochkin et al., ICML 2019, arXiv:1905.12022, without its balancing.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise refusal("dirichlet-alpha", alpha, "a finite number above 0")
    try:
        return _library_parts(
            "DirichletPartitioner",
            labels,
            num_partitions=n,
            partition_by="label",
            alpha=float(alpha),
            min_partition_size=1,
            shuffle=False,
            seed=seed,
        )
    except ValueError as error:
        raise refusal(
            "dirichlet-alpha",
            alpha,
            f"larger, or num-participants = {n} smaller: every draw left a participant "
            "without examples",
        ) from error


def shards(labels: Labels, n: int, seed: int, *, each: int) -> list[IntArray]:
    """Sort by label, cut into n * each equal shards, deal every participant `each` of them.

    The library deals the shards but would drop the examples that do not fill one, so it is
    given one row per shard; the shards' sizes differ by one example at most.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629, section 3.
    """
    most = len(labels) // n
    if not 1 <= each <= most:
        raise refusal("shards-per-participant", each, f"from 1 to {most} for {n} participants")
    cut = np.array_split(np.argsort(labels, kind="stable"), each * n)
    hands = _library_parts(
        "ShardPartitioner",
        np.arange(each * n),
        num_partitions=n,
        partition_by="label",
        num_shards_per_partition=each,
        shard_size=1,
        shuffle=False,
        seed=seed,
    )
    return [np.concatenate([cut[shard] for shard in hand]) for hand in hands]


def pathological(labels: Labels, n: int, seed: int, *, each: int) -> list[IntArray]:
    """Every participant holds `each` classes; a class is divided evenly among its holders.

    Participant i's first class is i modulo the number of classes, the others are drawn. With
    fewer participants than classes the library would leave some classes to nobody, so there a
    shuffle of the classes is dealt in turn instead.

    Source: McMahan et al., AISTATS 2017, arXiv:1602.05629 (the name and the idea).
    """
    classes, counts = np.unique(labels, return_counts=True)
    least = -(-len(classes) // n)
    if not least <= each <= len(classes):
        reason = f"from {least} to {len(classes)}, so that {n} participants can hold every class"
        raise refusal("classes-per-participant", each, reason)
    if n < len(classes):
        shuffled = np.random.default_rng(seed).permutation(len(classes))
        turns = np.arange(n)[:, None] * each + np.arange(each)
        held = shuffled[turns % len(classes)]
    else:
        held = _drawn_classes(len(classes), n, seed, each)
    parts: list[list[IntArray]] = [[] for _ in range(n)]
    for label in range(len(classes)):
        holders = np.flatnonzero((held == label).any(axis=1))
        if len(holders) > counts[label]:
            reason = f"smaller: {len(holders)} of {n} participants drew class {classes[label]}, "
            raise refusal("classes-per-participant", each, reason + f"of {counts[label]} examples")
        pieces = np.array_split(np.flatnonzero(labels == classes[label]), len(holders))
        for holder, piece in zip(holders, pieces, strict=True):
            parts[holder].append(piece)
    return [np.concatenate(part) for part in parts]


def refusal(key: str, value: object, allowed: str) -> ConfigError:
    """Build the error for a run-config value that this data or another value rules out."""
    return ConfigError(f"run config: {key} = {value!r} is not allowed here; it must be {allowed}")


def _drawn_classes(num_classes: int, n: int, seed: int, each: int) -> IntArray:
    """The library's draw of classes, [n, each].

    It depends on the labels' values but not on their number, so the library is given no more
    rows than it needs, which makes it a hundred times faster.
    """
    rows = np.repeat(np.arange(num_classes), n)
    hands = _library_parts(
        "PathologicalPartitioner",
        rows,
        num_partitions=n,
        partition_by="label",
        num_classes_per_partition=each,
        class_assignment_mode="first-deterministic",
        shuffle=False,
        seed=seed,
    )
    return np.stack([np.unique(rows[hand]) for hand in hands])


def _library_parts(partitioner: str, labels: Labels, **arguments: object) -> list[IntArray]:
    """Run a Flower Datasets partitioner over labels alone, in memory.

    Args:
        partitioner: Class name in `flwr_datasets.partitioner`.
        labels: Integer class of each row, [N].
        arguments: For the class.

    Returns:
        One int64 array of row numbers per partition, in the library's order.

    Raises:
        ValueError: Whatever the library refuses.
    """
    state = random.getstate()  # importing the library draws from the global generator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # progress reports, or raised as errors by the library
            # Imported here: they take seconds, which the contiguous partitioner need not pay.
            from datasets import Dataset
            from flwr_datasets import partitioner as library

            division = getattr(library, partitioner)(**arguments)
            division.dataset = Dataset.from_dict({"label": labels, "row": np.arange(len(labels))})
            return [
                np.asarray(division.load_partition(i).with_format("numpy")[:]["row"])
                for i in range(division.num_partitions)
            ]
    finally:
        random.setstate(state)
