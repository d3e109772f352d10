"""Partitioners of one's own, and options."""

import pytest

from fl_app.core.errors import ConfigError
from fl_app.data.partition import (
    partition_digest,
    partition_indices,
    train_and_test_indices,
)
from tests.fl_app.data.partition_cases import LABELS, TEST_LABELS, assert_divides, spec

OWN_PARTITIONERS = """
import numpy as np

def geometric(labels, num_partitions, seed, *, ratio=0.5):
    shares = ratio ** np.arange(num_partitions)
    ends = (np.cumsum(shares / shares.sum())[:-1] * len(labels)).astype(int)
    return np.split(np.random.default_rng(seed).permutation(len(labels)), ends)

def too_few(labels, num_partitions, seed):
    return [np.arange(len(labels))]

def lossy(labels, num_partitions, seed):
    return np.array_split(np.arange(len(labels) - 1), num_partitions)
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "partitioners.py"
    path.write_text(OWN_PARTITIONERS)
    return path


def test_a_partitioner_of_ones_own_divides_with_its_options(own):
    train, test = train_and_test_indices(LABELS, TEST_LABELS, spec(f"{own}:geometric(ratio=1)", 4))
    assert_divides(train, 2000)
    assert_divides(test, 500)
    assert [len(part) for part in train] == [500] * 4
    halved = partition_indices(LABELS, spec(f"{own}:geometric", 3))
    assert [len(part) for part in halved] == [1142, 572, 286]


@pytest.mark.parametrize(
    ("partitioner", "message"),
    [
        ("too_few", "it makes 1 parts for 10 participants"),
        ("lossy", "it loses or repeats examples"),
        ("geometric(ratoi=1)", "has no option ratoi; it takes ratio"),
        ("geometric(seed=1)", "has no option seed; it takes ratio"),
    ],
)
def test_a_partitioner_of_ones_own_that_divides_badly_is_refused_and_shown(
    own, partitioner, message
):
    with pytest.raises(ConfigError, match=message) as caught:
        partition_indices(LABELS, spec(f"{own}:{partitioner}"))
    assert str(own) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option", "key", "value"),
    [
        ("dirichlet", "alpha", "dirichlet_alpha", 0.2),
        ("shards", "each", "shards_per_participant", 3),
        ("pathological", "each", "classes_per_participant", 3),
    ],
)
def test_an_option_does_what_its_key_does_and_goes_before_it(name, option, key, value):
    by_option = partition_indices(LABELS, spec(f"{name}({option}={value})"))
    by_key = partition_indices(LABELS, spec(name, **{key: value}))
    assert partition_digest(by_option) == partition_digest(by_key)
    assert partition_digest(by_key) != partition_digest(partition_indices(LABELS, spec(name)))


def test_an_unknown_partitioner_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r'partitioner = "linaer".*did you mean linear\?.*iid'):
        partition_indices(LABELS, spec("linaer"))
