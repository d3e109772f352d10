"""Who holds which examples.

The partitioners with names are in `fl_app/data/partitioners.py`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from fl_app.core import plugins
from fl_app.core.errors import ConfigError
from fl_app.data.partitioners import IntArray, Labels, refusal
from strategies.part_kinds import BY_POSITION
from strategies.registry import facts_of, known_name

_NAMES_SHOWN = 10

Partitioner = Callable[[Labels, int, int], list[IntArray]]


@dataclass(frozen=True)
class PartitionSpec:
    """A partitioner and its settings.

    Attributes:
        name: A name or a path, with options (run-config key partitioner).
        num_partitions: Number of participants.
        seed: Of every random choice; not negative.
        dirichlet_alpha: For dirichlet: the smaller, the more skewed.
        shards_per_participant: For shards.
        classes_per_participant: For pathological.
    """

    name: str
    num_partitions: int
    seed: int
    dirichlet_alpha: float = 0.5
    shards_per_participant: int = 2
    classes_per_participant: int = 2


def partition_indices(labels: Labels, spec: PartitionSpec) -> list[IntArray]:
    """Divide examples among participants.

    The result depends on the arguments alone: it is the same in every process, and no global
    random state is read or changed.

    Args:
        labels: Integer class of each example, [N].
        spec: The partitioner and its settings.

    Returns:
        One int64 array per participant, ascending, not empty; together exactly 0 .. N-1.

    Raises:
        ConfigError: If the request is impossible; it names the run-config key and the limit.
    """
    partitioner = _partitioner(spec)
    if not 1 <= spec.num_partitions <= len(labels):
        raise refusal("num-participants", spec.num_partitions, f"from 1 to {len(labels)} examples")
    if spec.seed < 0:
        raise refusal("seed", spec.seed, "0 or more")
    labels = np.asarray(labels)
    divided = partitioner(labels, spec.num_partitions, spec.seed)
    parts = [np.sort(np.asarray(indices, dtype=np.int64)) for indices in divided]
    if len(parts) != spec.num_partitions:
        reason = f"another: it makes {len(parts)} parts for {spec.num_partitions} participants"
        raise refusal("partitioner", spec.name, reason)
    empty = [i for i, indices in enumerate(parts) if not len(indices)]
    if empty:
        raise refusal(
            "partitioner", spec.name, f"another: it leaves participant {empty[0]} without examples"
        )
    if not np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels))):
        if known_name("partitioner", spec.name) is None:
            raise refusal("partitioner", spec.name, "another: it loses or repeats examples")
        raise RuntimeError(f"partitioner {spec.name} lost or repeated examples; this is a bug")
    return parts


def train_and_test_indices(
    train_labels: Labels, test_labels: Labels, spec: PartitionSpec
) -> tuple[list[IntArray], list[IntArray]]:
    """Divide a training and a test set so that each participant's two parts match.

    A partitioner that looks at no label, as contiguous, divides both. With any other, the test
    examples of each class are dealt in proportion to the participants' training counts of that
    class (see `follow`), because a partitioner's second draw, on the test labels, would not repeat
    the first. Nothing is cached: 60,000 labels among 1,000 participants take about two seconds.

    Args:
        train_labels: Integer classes, [N].
        test_labels: Integer classes, [M].
        spec: The partitioner and its settings.

    Returns:
        Training and test indices, as from `partition_indices`; a participant's test part is
        empty only where there are too few test examples of its classes to go round.

    Raises:
        ConfigError: As `partition_indices`, for the training set.
    """
    train = partition_indices(train_labels, spec)
    if BY_POSITION in facts_of("partitioner", spec.name):
        return train, _partitioner(spec)(test_labels, spec.num_partitions, spec.seed)
    classes = 1 + int(max(np.max(train_labels), np.max(test_labels, initial=0)))
    return train, follow(test_labels, label_counts(train_labels, train, classes))


def natural_partition(
    train_groups: Sequence[str], test_groups: Sequence[str], num_participants: int
) -> tuple[list[IntArray], list[IntArray], list[str]]:
    """Give each participant the examples of one owner.

    Args:
        train_groups: The owner of each training example, [N].
        test_groups: Of each test example, [M]; an owner may have none.
        num_participants: How many there must be.

    Returns:
        Training and test indices, one ascending int64 array per owner, and the owners' names, in
        the order in which they first come.

    Raises:
        ConfigError: If there are more or fewer owners, or one has test examples only.
    """
    names = list(dict.fromkeys(train_groups))
    if len(names) != num_participants:
        shown = ", ".join(names[:_NAMES_SHOWN]) + ", ..." * (len(names) > _NAMES_SHOWN)
        reason = f"{len(names)}: with partitioner = 'natural' there is one for each of {shown}"
        raise refusal("num-participants", num_participants, reason)
    position = {name: index for index, name in enumerate(names)}
    if strangers := sorted(set(test_groups) - set(names)):
        raise ConfigError(f"the data has test examples but none to train on of {strangers[0]!r}")
    parts = []
    for groups in (train_groups, test_groups):
        owners = np.array([position[name] for name in groups], np.int64)
        order = np.argsort(owners, kind="stable").astype(np.int64)
        ends = np.cumsum(np.bincount(owners, minlength=len(names)))
        parts.append(np.split(order, ends[:-1]))
    return parts[0], parts[1], names


def follow(test_labels: Labels, counts: IntArray) -> list[IntArray]:
    """Deal test examples so that each participant's labels are distributed as in training.

    Class by class, a participant's quota is its share of the class's training examples, rounded
    by largest remainders (ties to the lower id). A class that nobody trains on is dealt evenly.
    Then each participant left with nothing takes one example of a class it trains on from the
    participant that has most of it, unless that would leave the giver with nothing.

    Args:
        test_labels: Integer classes, [M].
        counts: Training examples, [participants, classes].

    Returns:
        One ascending int64 array per participant; together exactly 0 .. M-1.
    """
    available = np.bincount(test_labels, minlength=counts.shape[1])
    weights = np.where(counts.sum(axis=0) == 0, 1, counts)
    dealt, remainders = np.divmod(available * weights, weights.sum(axis=0))
    for label, left in enumerate(available - dealt.sum(axis=0)):
        order = np.argsort(-remainders[:, label], kind="stable")
        dealt[order[:left], label] += 1
    _help_the_empty(dealt, counts)
    parts: list[list[IntArray]] = [[] for _ in counts]
    for label, ends in enumerate(np.cumsum(dealt, axis=0).T):
        pieces = np.split(np.flatnonzero(test_labels == label), ends[:-1])
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def label_counts(labels: Labels, parts: Sequence[IntArray], num_classes: int) -> IntArray:
    """Count each participant's examples of each class, int64 [participants, classes]."""
    return np.stack([np.bincount(labels[part], minlength=num_classes) for part in parts])


def partition_digest(parts: Sequence[IntArray]) -> str:
    """Hash a partition: SHA-256 in hex over each part's length and indices, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return digest.hexdigest()


def _partitioner(spec: PartitionSpec) -> Partitioner:
    """Return the function that divides, with the settings that have run-config keys."""
    settings = {name.replace("_", "-"): value for name, value in asdict(spec).items()}
    partitioner: Partitioner = plugins.part("partitioner", spec.name, settings)
    return partitioner


def _help_the_empty(dealt: IntArray, counts: IntArray) -> None:
    """Move single test examples, in place, to participants that were dealt none."""
    totals = dealt.sum(axis=1)
    for empty in np.flatnonzero(totals == 0):
        givers = np.where((totals[:, None] > 1) & (counts[empty] > 0), dealt, 0)
        giver, label = np.unravel_index(np.argmax(givers), givers.shape)
        if givers[giver, label]:
            dealt[giver, label] -= 1
            dealt[empty, label] += 1
            totals[giver] -= 1
            totals[empty] += 1
