"""The sum of updates that come one by one: the bits of the plain formula, however it is made."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies import compiled_sum
from strategies.aggregators import Folding, weighted_mean
from strategies.updates import AggregationError, Arrays, ClientUpdate
from strategies.weighted_sum import WeightedSum
from tests.strategies.test_weighted_mean_blocks import (
    assert_same_bits,
    normal_updates,
    plain_weighted_mean,
)

needs_compiler = pytest.mark.skipif(compiled_sum.load() is None, reason="there is no C compiler")
any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways in which the sum is made."""
    built = compiled_sum.load() if request.param == "compiled" else None
    if request.param == "compiled" and built is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(compiled_sum, "available", lambda: built)
    return str(request.param)


def folded(updates: list[ClientUpdate], held: int = 8) -> Arrays:
    total = WeightedSum(held)
    for update in updates:
        total.add(update)
    return total.result()


@pytest.mark.parametrize("held", [1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("number", [1, 7, 8, 9, 16, 20])
def test_however_many_are_held_the_bits_are_those_of_the_plain_formula(
    kernel: str, number: int, held: int
):
    updates = normal_updates(number, (2049,), (3, 2), (), (0, 4))

    assert_same_bits(folded(updates, held), plain_weighted_mean(updates))


@pytest.mark.parametrize("size", [1, 2047, 2048, 2049, 2**15 + 1])
def test_the_length_of_an_array_makes_no_difference(kernel: str, size: int):
    updates = normal_updates(9, (size,))

    assert_same_bits(folded(updates), plain_weighted_mean(updates))


@needs_compiler
@given(data=st.data())
def test_compiled_and_numpy_give_the_same_bits_for_every_number(data: st.DataObject):
    values = data.draw(hnp.arrays(np.float32, (10, 5), elements=any_values))
    counts = data.draw(st.lists(st.integers(1, 2**40), min_size=10, max_size=10))
    updates = [ClientUpdate(str(i), [values[i].copy()], count) for i, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_sum, "available", compiled_sum.load)
        compiled = folded(updates)
        patch.setattr(compiled_sum, "available", lambda: None)
        plain = folded(updates)

    assert_same_bits(compiled, plain)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a.astype(np.float64), id="float64"),
        pytest.param(lambda a: a.astype(np.float16), id="float16"),
        pytest.param(np.asfortranarray, id="another layout"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="every other value"),
        pytest.param(lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape), id="bytes"),
    ],
)
def test_what_the_kernel_does_not_know_is_summed_all_the_same(change):
    updates = [
        ClientUpdate(u.participant, [change(u.delta[0])], u.num_examples)
        for u in normal_updates(10, (30, 20))
    ]
    n = sum(u.num_examples for u in updates)
    exact = sum(u.delta[0].astype(np.longdouble) * u.num_examples for u in updates) / n

    (mean,) = folded(updates)

    assert mean.dtype == updates[0].delta[0].dtype
    tolerance = 2.0**-10 if mean.dtype == np.float16 else 2.0**-23
    np.testing.assert_allclose(mean, exact, rtol=tolerance, atol=1e-7)


def test_an_aggregator_that_folds_gives_what_it_gives_for_all_at_once():
    updates = normal_updates(20, (300,))
    assert isinstance(weighted_mean, Folding)

    fold = weighted_mean.begin()
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

    # 8 held and the first for its form, one in the making, float64 totals, two blocks.
    assert peak(200) <= peak(20) * 1.05 <= 14 * 4 * size


def test_without_a_compiler_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    for compiler in ("", "no-such-compiler", "false"):
        monkeypatch.setenv(compiled_sum.COMPILER_VARIABLE, compiler)
        assert compiled_sum.load.__wrapped__() is None


@needs_compiler
def test_the_kernel_is_built_in_the_background(monkeypatch: pytest.MonkeyPatch):
    built = compiled_sum.load()

    def slowly():
        time.sleep(0.5)
        return built

    monkeypatch.setattr(compiled_sum, "_building", None)
    monkeypatch.setattr(compiled_sum, "load", slowly)
    assert compiled_sum.available() is None
    assert compiled_sum._building is not None
    compiled_sum._building.join()
    assert compiled_sum.available() is built
