"""The sum of updates that come one by one: the bits of the plain formula, however it is made."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.aggregation.weighted_mean import WeightedSum, weighted_mean
from strategies.core.client_update import AggregationError, Arrays, ClientUpdate
from strategies.native import sum_kernels
from strategies.native.compiler import COMPILER_VARIABLE
from tests.strategies.aggregation.test_weighted_mean_blocks import (
    assert_same_bits,
    normal_updates,
    plain_weighted_mean,
)

needs_compiler = pytest.mark.skipif(sum_kernels.load() is None, reason="there is no C compiler")
any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)


def folded(updates: list[ClientUpdate], held: int = 10) -> Arrays:
    total = WeightedSum(held)
    for update in updates:
        total.add(update)
    return total.result()


@pytest.mark.parametrize("held", [1, 2, 3, 9, 10, 11, 100])
@pytest.mark.parametrize("number", [1, 9, 10, 11, 20, 21])
def test_however_many_are_held_the_bits_are_those_of_the_plain_formula(
    kernel: str, number: int, held: int
):
    updates = normal_updates(number, (321,), (3, 2), (), (0, 4))

    assert_same_bits(folded(updates, held), plain_weighted_mean(updates))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 127, 128, 129, 200, 2**15 + 1])
def test_the_length_of_an_array_makes_no_difference(kernel: str, size: int):
    updates = normal_updates(9, (size,))

    assert_same_bits(folded(updates, held=8), plain_weighted_mean(updates))


@needs_compiler
@given(data=st.data())
def test_compiled_and_numpy_give_the_same_bits_for_every_number(data: st.DataObject):
    values = data.draw(hnp.arrays(np.float32, (10, 66), elements=any_values))
    counts = data.draw(st.lists(st.integers(1, 2**40), min_size=10, max_size=10))
    updates = [ClientUpdate(str(i), [values[i].copy()], count) for i, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sum_kernels, "available", sum_kernels.load)
        in_c = folded(updates, held=8)
        patch.setattr(sum_kernels, "available", lambda: None)
        plain = folded(updates, held=8)

    assert_same_bits(in_c, plain)


def unaligned(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"?" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a.astype(np.float64), id="float64"),
        pytest.param(lambda a: a.astype(np.float16), id="float16"),
        pytest.param(np.asfortranarray, id="another layout"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="every other value"),
        pytest.param(lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape), id="bytes"),
        pytest.param(lambda a: a.astype(">f4"), id="the other byte order"),
        pytest.param(unaligned, id="unaligned"),
    ],
)
def test_what_the_kernel_does_not_know_is_summed_all_the_same(kernel: str, change):
    updates = [
        ClientUpdate(u.participant, [change(u.delta[0])], u.num_examples)
        for u in normal_updates(12, (30, 20))
    ]
    n = sum(u.num_examples for u in updates)
    exact = sum(u.delta[0].astype(np.longdouble) * u.num_examples for u in updates) / n

    (mean,) = folded(updates)

    assert mean.dtype == updates[0].delta[0].dtype
    tolerance = 2.0**-10 if mean.dtype == np.float16 else 2.0**-23
    np.testing.assert_allclose(mean, exact, rtol=tolerance, atol=1e-7)


def test_opposite_updates_of_equal_weight_cancel(kernel: str):
    # Unless a product is added before it is rounded: it has more digits than float64 here.
    (up,) = normal_updates(1, (130,))
    count = 2**40 + 1
    up, down = replace(up, num_examples=count), ClientUpdate("1", [-up.delta[0]], count)

    assert_same_bits(folded([up, down]), [np.zeros(130, np.float32)])


@pytest.mark.parametrize("place", [0, 19])
def test_a_dtype_of_its_own_among_float32_is_summed_all_the_same(kernel: str, place: int):
    updates = normal_updates(20, (130,))
    expected = plain_weighted_mean(updates)
    values = updates[place].delta[0].astype(np.float64)
    updates[place] = replace(updates[place], delta=[values])

    (mean,) = folded(updates)

    assert mean.dtype == updates[0].delta[0].dtype
    assert_same_bits([mean.astype(np.float32)], expected)


def test_every_array_of_a_model_keeps_its_dtype(kernel: str):
    updates = [
        ClientUpdate(u.participant, [u.delta[0], u.delta[1].astype(np.float64)], u.num_examples)
        for u in normal_updates(20, (130,), (3, 2))
    ]

    mean = folded(updates)

    assert [a.dtype for a in mean] == [np.dtype(np.float32), np.dtype(np.float64)]
    assert [a.shape for a in mean] == [(130,), (3, 2)]
    assert_same_bits(mean[:1], plain_weighted_mean(updates)[:1])


def test_a_model_without_arrays_has_a_mean_without_arrays(kernel: str):
    assert folded([ClientUpdate(str(i), [], 1) for i in range(20)]) == []


def test_adding_up_changes_no_update(kernel: str):
    updates = normal_updates(20, (130,), (3, 2))
    before = [[a.tobytes() for a in u.delta] for u in updates]
    for update in updates:
        for array in update.delta:
            array.setflags(write=False)

    folded(updates)

    assert [[a.tobytes() for a in u.delta] for u in updates] == before


def test_an_aggregator_that_folds_gives_what_it_gives_for_all_at_once():
    updates = normal_updates(20, (300,))
    fold = weighted_mean.begin()
    assert isinstance(fold, WeightedSum)
    for update in updates:
        fold.add(update)

    assert_same_bits(fold.result(), weighted_mean(updates))


def test_another_form_is_refused_when_it_comes_and_no_update_at_the_end():
    total = WeightedSum()
    with pytest.raises(AggregationError, match="no update"):
        total.result()
    total.add(ClientUpdate("a", [np.ones(2, np.float32)], 1))
    with pytest.raises(AggregationError, match="participants a and b"):
        total.add(ClientUpdate("b", [np.ones(3, np.float32)], 1))


def test_200_updates_take_the_memory_of_a_few(kernel: str):
    generator = np.random.default_rng(1)
    size = 100_000

    def peak(number: int) -> int:
        total = WeightedSum()
        tracemalloc.start()
        for i in range(number):
            delta = [generator.standard_normal(size, dtype=np.float32)]
            total.add(ClientUpdate(str(i), delta, 1 + i))
        total.result()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    # 10 held, one in the making, float64 totals, and two blocks for NumPy.
    assert peak(200) <= 1.05 * peak(20)
    assert peak(20) <= 14.5 * 4 * size


@pytest.mark.parametrize(("number", "models"), [(10, 1), (11, 3)])
def test_totals_take_memory_from_the_eleventh_update_on(kernel: str, number: int, models: int):
    updates = normal_updates(number, (300_000,))
    tracemalloc.start()
    folded(updates)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # The mean, and the totals in float64; two blocks for NumPy.
    assert models <= peak / (4 * 300_000) <= models + 0.5


def test_without_a_compiler_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    for compiler in ("", "no-such-compiler", "false"):
        monkeypatch.setenv(COMPILER_VARIABLE, compiler)
        assert sum_kernels.load.__wrapped__() is None


@needs_compiler
def test_the_kernel_is_built_in_the_background(monkeypatch: pytest.MonkeyPatch):
    built = sum_kernels.load()

    def slowly():
        time.sleep(0.5)
        return built

    monkeypatch.setattr(sum_kernels, "_building", None)
    monkeypatch.setattr(sum_kernels, "load", slowly)
    assert sum_kernels.available() is None
    assert sum_kernels._building is not None
    sum_kernels._building.join()
    assert sum_kernels.available() is built
