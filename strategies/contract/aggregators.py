"""The laws of aggregators."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from strategies.aggregation.base import AggregatorFunction, as_aggregator
from strategies.contract.comparisons import (
    bits_of,
    demand,
    demand_close,
    demand_form,
    demand_same_bits,
    example_arrays,
    frozen,
)
from strategies.contract.laws import Build, Law
from strategies.core.client_update import Arrays, ClientUpdate

Updates = Sequence[ClientUpdate]

_NUM_UPDATES = 9
_ROUND_OFF = 1e-5  # of values around 1, as float32


def has_the_form_of_the_updates(aggregator: AggregatorFunction, updates: Updates) -> None:
    """The result has the shapes and dtypes of the updates."""
    demand_form(aggregator(updates), updates[0].delta)


def leaves_the_updates_alone(aggregator: AggregatorFunction, updates: Updates) -> None:
    """Updates are not changed, may be read-only, and share no memory with the result."""
    given = [replace(u, delta=[np.array(array) for array in u.delta]) for u in updates]
    before = [bits_of(u.delta) for u in given]
    for array in aggregator(given):
        array[...] = 77
    demand([bits_of(u.delta) for u in given] == before, "the updates it was given are changed")
    aggregator([replace(u, delta=frozen(u.delta)) for u in updates])


def is_repeatable(aggregator: AggregatorFunction, updates: Updates) -> None:
    """Equal updates give equal bits, also the second time."""
    first = [np.array(array) for array in aggregator(updates)]
    demand_same_bits(aggregator(updates), first, "the second time it gives something else")


def does_not_see_the_order(
    aggregator: AggregatorFunction, updates: Updates, order: Sequence[int]
) -> None:
    """Participants may be called otherwise: any order gives the same, but for round-off.

    Args:
        aggregator: The part.
        updates: Without ties, between which an order may decide.
        order: Their indices, in another order.
    """
    tolerance = _ROUND_OFF * _largest(updates)
    shuffled = aggregator([updates[index] for index in order])
    demand_close(shuffled, aggregator(updates), tolerance, "another order gives something else")


def gives_identical_updates_back(
    aggregator: AggregatorFunction, delta: Arrays, counts: list[int]
) -> None:
    """Where all agree, that is the result, whatever their numbers of examples."""
    same = [ClientUpdate(str(i), delta, count, 1.0) for i, count in enumerate(counts)]
    demand_close(aggregator(same), delta, 0.0, "updates that are all the same do not come back")


def moves_with_the_updates(
    aggregator: AggregatorFunction, updates: Updates, shift: float, tolerance: float
) -> None:
    """Translation equivariance: adding a number to all updates adds it to the result."""
    moved = [
        replace(u, delta=[np.asarray(a + a.dtype.type(shift)) for a in u.delta]) for u in updates
    ]
    expected = [array.astype(np.float64) + shift for array in aggregator(updates)]
    demand_close(
        aggregator(moved), expected, tolerance, f"adding {shift:.3g} to all updates adds not that"
    )


def stays_among_the_updates(aggregator: AggregatorFunction, updates: Updates) -> None:
    """No coordinate is less than the least or more than the greatest of the updates."""
    for parameter, array in enumerate(aggregator(updates)):
        stacked = np.stack([u.delta[parameter] for u in updates])
        outside = (array < stacked.min(axis=0)) | (array > stacked.max(axis=0))
        demand(not outside.any(), f"{np.count_nonzero(outside)} values are outside their range")


def example_updates(generator: np.random.Generator, number: int = _NUM_UPDATES) -> Updates:
    """Draw the updates of a round: as different as they may be, and without ties."""
    return [
        ClientUpdate(
            str(participant),
            example_arrays(generator),
            int(generator.integers(1, 10_000)),
            float(generator.integers(1, 50)),
        )
        for participant in range(number)
    ]


def _largest(updates: Updates) -> float:
    return max(float(np.abs(a).max(initial=0)) for u in updates for a in u.delta)


def _of_updates(check: Callable[[AggregatorFunction, Updates], None]) -> Callable[..., None]:
    def drawn(build: Build, generator: np.random.Generator) -> None:
        aggregator = build()
        check(aggregator, _enough(aggregator, generator))

    return drawn


def _enough(aggregator: AggregatorFunction, generator: np.random.Generator) -> Updates:
    least = as_aggregator(aggregator).least_updates
    return example_updates(generator, max(_NUM_UPDATES, least))


def _order(build: Build, generator: np.random.Generator) -> None:
    aggregator = build()
    updates = _enough(aggregator, generator)
    does_not_see_the_order(aggregator, updates, generator.permutation(len(updates)).tolist())


def _identical(build: Build, generator: np.random.Generator) -> None:
    aggregator = build()
    updates = _enough(aggregator, generator)
    counts = [u.num_examples for u in updates]
    gives_identical_updates_back(aggregator, updates[0].delta, counts)


def _translation(build: Build, generator: np.random.Generator) -> None:
    aggregator = build()
    updates = [replace(u, local_steps=1.0) for u in _enough(aggregator, generator)]
    moves_with_the_updates(aggregator, updates, float(generator.normal()), 1e-5)


def _range(build: Build, generator: np.random.Generator) -> None:
    aggregator = build()
    updates = [replace(u, local_steps=1.0) for u in _enough(aggregator, generator)]
    stays_among_the_updates(aggregator, updates)


LAWS = (
    Law(
        "the result has the shapes and dtypes of the updates",
        _of_updates(has_the_form_of_the_updates),
    ),
    Law(
        "the updates stay as they are, and may be read-only", _of_updates(leaves_the_updates_alone)
    ),
    Law("equal updates give equal bits", _of_updates(is_repeatable)),
    Law("the order of the updates does not matter", _order),
    Law("updates that are all the same give themselves", _identical, needed=False),
    Law("adding a number to all updates adds it to the result", _translation, needed=False),
    Law("no coordinate leaves the range of the updates", _range, needed=False),
)
