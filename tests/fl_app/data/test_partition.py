import os
import random
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fl_app.core.errors import ConfigError
from fl_app.data.datasets import load_dataset
from fl_app.data.partition import (
    PartitionSpec,
    follow,
    label_counts,
    partition_digest,
    partition_indices,
    train_and_test_indices,
)
from strategies.part_kinds import KINDS
from tests.fl_app.data.partition_cases import LABELS, TEST_LABELS, assert_divides, spec

PARTITIONERS = KINDS["partitioner"].names
SEEDED = sorted(set(PARTITIONERS) - {"contiguous"})
SKEWED = ["dirichlet", "pathological", "shards"]


# Laws of every partitioner


@pytest.mark.parametrize("name", sorted(PARTITIONERS))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_example_has_exactly_one_holder_and_the_seed_decides(name, data):
    classes = data.draw(st.integers(2, 5))
    size = data.draw(st.integers(60, 150))
    labels = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(size) % classes
    n = data.draw(st.integers(1, 8))
    request = PartitionSpec(
        name,
        n,
        data.draw(st.integers(0, 2**63 - 1)),
        dirichlet_alpha=data.draw(st.floats(2.0, 100.0)),
        shards_per_participant=data.draw(st.integers(1, size // n)),
        classes_per_participant=data.draw(st.integers(-(-classes // n), classes)),
    )
    before = labels.copy()
    parts = partition_indices(labels, request)
    assert len(parts) == n
    assert all(len(part) for part in parts)
    assert_divides(parts, size)
    assert partition_digest(partition_indices(labels, request)) == partition_digest(parts)
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_another_partition(name):
    one, other = (partition_digest(partition_indices(LABELS, spec(name, seed=s))) for s in (1, 2))
    assert one != other


@pytest.mark.parametrize("name", sorted(PARTITIONERS))
def test_global_random_state_is_neither_used_nor_changed(name):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    first = partition_digest(partition_indices(LABELS, spec(name)))
    after = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    random.seed(2), np.random.seed(2)
    assert partition_digest(partition_indices(LABELS, spec(name))) == first


@pytest.mark.slow
def test_another_process_gets_the_same_partitions_without_side_effects(tmp_path):
    code = """
import random, sys, numpy as np
import fl_app.data.datasets
from strategies.part_kinds import KINDS
from fl_app.data.partition import PartitionSpec, partition_digest, partition_indices
slow = {"torchvision", "sklearn", "datasets", "flwr_datasets", "matplotlib"}
partition_indices(np.zeros(10, dtype=int), PartitionSpec("contiguous", 2, 0))
assert not slow & set(sys.modules), "what every participant imports has become slow"
labels = np.random.default_rng(0).integers(0, 10, 2000)
state = random.getstate()
for name in sorted(KINDS["partitioner"].names):
    print(partition_digest(partition_indices(labels, PartitionSpec(name, 10, 3))))
assert random.getstate() == state, "the first import of the library changed the global generator"
"""
    environment = {**os.environ, "PYTHONHASHSEED": "77", "HOME": str(tmp_path)}
    environment["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # its font list takes long to make
    environment.pop("HF_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    here = [
        partition_digest(partition_indices(LABELS, spec(name))) for name in sorted(PARTITIONERS)
    ]
    assert done.stdout.split() == here
    assert not (tmp_path / ".cache" / "huggingface").exists()


def test_a_partitioner_that_leaves_someone_empty_or_loses_examples_is_refused(monkeypatch):
    def greedy(labels, num_partitions, seed):
        return [np.arange(len(labels)), np.arange(0)]

    def forgetful(labels, num_partitions, seed):
        return [np.arange(5), np.arange(4, 9)]

    monkeypatch.setitem(PARTITIONERS, "greedy", greedy)
    with pytest.raises(ConfigError, match="participant 1 without examples"):
        partition_indices(LABELS, spec("greedy", 2))
    monkeypatch.setitem(PARTITIONERS, "greedy", forgetful)
    with pytest.raises(RuntimeError, match="lost or repeated"):
        partition_indices(LABELS, spec("greedy", 2))


# Partitioners of one's own, and options


# Test parts


@pytest.mark.parametrize("name", sorted(PARTITIONERS))
def test_train_and_test_parts_divide_both_sets(name):
    train, test = train_and_test_indices(LABELS, TEST_LABELS, spec(name))
    assert_divides(train, 2000)
    assert_divides(test, 500)
    assert all(len(part) for part in test)


@pytest.mark.parametrize("name", SKEWED)
def test_test_labels_are_distributed_as_training_labels(name):
    train, test = train_and_test_indices(LABELS, TEST_LABELS, spec(name))
    in_train, in_test = label_counts(LABELS, train, 10), label_counts(TEST_LABELS, test, 10)
    expected = in_train * np.bincount(TEST_LABELS) / np.bincount(LABELS)
    assert np.abs(in_test - expected).max() < 1.0
    assert not in_test[in_train == 0].any()


@pytest.mark.parametrize("name", ["pathological", "shards"])
def test_test_classes_are_the_training_classes(name):
    labels = np.repeat(np.arange(10), 200)
    train, test = train_and_test_indices(labels, np.tile(np.arange(10), 50), spec(name))
    held_in_train = label_counts(labels, train, 10) > 0
    held_in_test = label_counts(np.tile(np.arange(10), 50), test, 10) > 0
    assert np.array_equal(held_in_train, held_in_test)


def test_follow_by_hand():
    counts = np.array([[3, 0], [1, 2], [1, 0]])
    # class 0: 4 examples by 3:1:1 are quotas 2.4, 0.8, 0.8, so 2, 1, 1; class 1: all to the second
    parts = follow(np.array([0, 1, 0, 0, 1, 0]), counts)
    assert [part.tolist() for part in parts] == [[0, 2], [1, 3, 4], [5]]


def test_follow_gives_everyone_an_example_where_it_can():
    counts = np.array([[90, 0], [5, 0], [5, 9]])
    parts = follow(np.array([0, 0, 0, 1]), counts)
    assert [len(part) for part in parts] == [2, 1, 1]
    assert_divides(parts, 4)
    assert [len(part) for part in follow(np.array([0]), counts)] == [1, 0, 0]


def test_follow_deals_a_class_unknown_in_training_evenly():
    counts = np.array([[4, 0], [4, 0]])
    assert label_counts(
        np.array([1, 1, 0, 0]), follow(np.array([1, 1, 0, 0]), counts), 2
    ).tolist() == [[1, 1], [1, 1]]


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=1, max_size=6),
    labels=st.lists(st.integers(0, 3), max_size=40),
)
def test_follow_always_divides_and_never_strays(counts, labels):
    table, test_labels = np.array(counts), np.array(labels, dtype=np.int64)
    parts = follow(test_labels, table)
    assert len(parts) == len(counts)
    assert_divides(parts, len(labels))
    trained = table.sum(axis=0) > 0
    strays = label_counts(test_labels, parts, 4)[:, trained][table[:, trained] == 0]
    assert not strays.any()


# Reports


def test_label_counts_by_hand():
    parts = [np.array([0, 2]), np.array([1])]
    assert label_counts(np.array([2, 0, 2]), parts, 3).tolist() == [[0, 0, 2], [1, 0, 0]]


def test_the_digest_sees_boundaries_order_and_values():
    base = [np.array([0, 1]), np.array([2])]
    others = [
        [np.array([0]), np.array([1, 2])],
        [np.array([2]), np.array([0, 1])],
        [np.array([0, 1]), np.array([3])],
        [np.array([0, 1]), np.array([2]), np.array([], dtype=np.int64)],
    ]
    assert len({partition_digest(parts) for parts in [base, *others]}) == 5
    assert partition_digest([part.astype(np.int32) for part in base]) == partition_digest(base)


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("name", SKEWED)
def test_mnist_test_parts_hold_the_training_classes(name, mnist_dir):
    dataset = load_dataset("mnist", mnist_dir)
    labels, test_labels = dataset.train.labels.numpy(), dataset.test.labels.numpy()
    train, test = train_and_test_indices(labels, test_labels, spec(name, seed=42))
    in_train, in_test = label_counts(labels, train, 10), label_counts(test_labels, test, 10)
    assert np.array_equal(in_train >= 12, (in_test > 0) & (in_train >= 12))
    assert not in_test[in_train == 0].any()
