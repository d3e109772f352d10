"""The weighted mean in blocks: the bits of the plain formula, in the memory of one model."""

import tracemalloc

import numpy as np
import pytest

from strategies.aggregation.weighted_mean import weighted_mean
from strategies.core.client_update import Arrays, ClientUpdate


def assert_same_bits(left: Arrays, right: Arrays) -> None:
    assert [a.tobytes() for a in left] == [a.tobytes() for a in right]


def plain_weighted_mean(updates: list[ClientUpdate]) -> Arrays:
    """A parameter at a time, in whole arrays."""
    mean = []
    for arrays in zip(*(u.delta for u in updates), strict=True):
        total = np.zeros(arrays[0].shape)
        for u, array in zip(updates, arrays, strict=True):
            total += np.multiply(array, u.num_examples, dtype=np.float64)
        mean.append(np.asarray(total / sum(u.num_examples for u in updates), dtype=np.float32))
    return mean


def normal_updates(number: int, *shapes: tuple[int, ...]) -> list[ClientUpdate]:
    generator = np.random.default_rng(3)
    return [
        ClientUpdate(
            str(i),
            [generator.standard_normal(shape, dtype=np.float32) for shape in shapes],
            int(generator.integers(1, 10_000)),
        )
        for i in range(number)
    ]


@pytest.mark.parametrize("size", [1, 2**15 - 1, 2**15, 2**15 + 1, 100_003])
def test_weighted_mean_in_blocks_changes_no_bit(size: int):
    updates = normal_updates(5, (size,), (3, 2))

    assert_same_bits(weighted_mean(updates), plain_weighted_mean(updates))


def test_weighted_mean_of_arrays_in_another_layout():
    updates = normal_updates(4, (300, 200))
    turned = [
        ClientUpdate(u.participant, [np.asfortranarray(u.delta[0])], u.num_examples) if i % 2 else u
        for i, u in enumerate(updates)
    ]

    assert_same_bits(weighted_mean(turned), weighted_mean(updates))


@pytest.mark.parametrize("order", ["C", "F"])
def test_weighted_mean_takes_the_memory_of_one_model_whatever_the_number(order: str):
    (one,) = normal_updates(1, (1000, 1000))
    array = np.asarray(one.delta[0], order="F" if order == "F" else "C")
    many = [ClientUpdate(str(i), [array], 1 + i) for i in range(40)]

    tracemalloc.start()
    weighted_mean(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1.3 * array.nbytes
