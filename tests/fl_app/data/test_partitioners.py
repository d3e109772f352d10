import numpy as np
import pytest

from fl_app.core.errors import ConfigError
from fl_app.data.partition import PartitionSpec, label_counts, partition_indices

LABELS = np.random.default_rng(0).integers(0, 10, 2000)


def spec(name: str, n: int = 10, seed: int = 3, **settings: float) -> PartitionSpec:
    return PartitionSpec(name, n, seed, **settings)  # type: ignore[arg-type]


def test_contiguous_is_the_references_ranges():
    parts = partition_indices(np.zeros(60000, dtype=np.int64), spec("contiguous"))
    for i, part in enumerate(parts):
        assert np.array_equal(part, np.arange(i * 6000, (i + 1) * 6000))


def test_contiguous_spreads_a_remainder():
    parts = partition_indices(np.zeros(11, dtype=np.int64), spec("contiguous", 4))
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_iid_parts_are_equal_and_mixed():
    parts = partition_indices(np.sort(LABELS), spec("iid", 7))
    assert {len(part) for part in parts} == {285, 286}
    assert label_counts(np.sort(LABELS), parts, 10).min() > 10


def test_shards_hold_few_labels_and_equal_sizes():
    labels = np.tile(np.arange(10), 103)  # 1,030 examples do not fill 20 equal shards
    parts = partition_indices(labels, spec("shards"))
    assert {len(part) for part in parts} <= {102, 103, 104}
    held = (label_counts(labels, parts, 10) > 0).sum(axis=1)
    assert held.max() <= 4
    assert held.mean() < 3.5


@pytest.mark.parametrize(("n", "each"), [(10, 2), (25, 3), (5, 2), (4, 3), (3, 10), (1, 10)])
def test_pathological_participants_hold_exactly_k_classes(n, each):
    parts = partition_indices(LABELS, spec("pathological", n, classes_per_participant=each))
    held = label_counts(LABELS, parts, 10) > 0
    assert (held.sum(axis=1) == each).all()
    assert held.any(axis=0).all()


def test_pathological_is_the_librarys_own_partition():
    from datasets import Dataset
    from flwr_datasets.partitioner import PathologicalPartitioner

    library = PathologicalPartitioner(12, "label", 2, "first-deterministic", shuffle=False, seed=3)
    library.dataset = Dataset.from_dict({"label": LABELS, "row": np.arange(len(LABELS))})
    for i, part in enumerate(partition_indices(LABELS, spec("pathological", 12))):
        assert sorted(library.load_partition(i)["row"]) == part.tolist()


def test_linear_sizes_grow_by_one_unit():
    parts = partition_indices(np.zeros(1000, dtype=np.int64), spec("linear", 4))
    assert [len(part) for part in parts] == [100, 200, 300, 400]


def test_smaller_alpha_is_more_skewed():
    def skew(alpha: float) -> float:
        parts = partition_indices(LABELS, spec("dirichlet", dirichlet_alpha=alpha))
        counts = label_counts(LABELS, parts, 10)
        return float((counts.max(axis=1) / counts.sum(axis=1)).mean())

    assert skew(0.2) > skew(1.0) + 0.1 > skew(100.0) + 0.2


# Impossible requests


@pytest.mark.parametrize(
    ("request_", "key", "allowed"),
    [
        (spec("wavy"), 'partitioner = "wavy"', "the names are natural, contiguous, iid"),
        (spec("iid", 0), "num-participants = 0", "from 1 to 2000"),
        (spec("contiguous", 2001), "num-participants = 2001", "from 1 to 2000"),
        (spec("iid", seed=-1), "seed = -1", "0 or more"),
        (spec("linear", 63), "num-participants = 63", "at most 62"),
        (spec("shards", shards_per_participant=0), "shards-per-participant = 0", "from 1 to 200"),
        (spec("shards", shards_per_participant=201), "shards-per-participant = 201", "1 to 200"),
        (spec("dirichlet", dirichlet_alpha=0.0), "dirichlet-alpha = 0.0", "above 0"),
        (spec("dirichlet", dirichlet_alpha=float("nan")), "dirichlet-alpha = nan", "finite"),
        (spec("dirichlet", 900, dirichlet_alpha=0.01), "dirichlet-alpha = 0.01", "900 smaller"),
        (spec("dirichlet", dirichlet_alpha=1e-300), "dirichlet-alpha = 1e-300", "larger"),
        (
            spec("pathological", classes_per_participant=11),
            "classes-per-participant = 11",
            "from 1 to 10",
        ),
        (spec("pathological", 4), "classes-per-participant = 2", "from 3 to 10"),
        (
            spec("pathological", 240, classes_per_participant=10),
            "classes-per-participant = 10",
            "240 of 240 participants drew class 0",
        ),
    ],
)
def test_an_impossible_request_names_key_value_and_limit(request_, key, allowed):
    with pytest.raises(ConfigError) as caught:
        partition_indices(LABELS, request_)
    assert key in str(caught.value)
    assert allowed in str(caught.value)


@pytest.mark.parametrize(
    "largest",
    [spec("linear", 62), spec("shards", shards_per_participant=200), spec("contiguous", 2000)],
)
def test_the_largest_allowed_requests_work(largest):
    parts = partition_indices(LABELS, largest)
    assert len(parts) == largest.num_partitions
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(2000))
