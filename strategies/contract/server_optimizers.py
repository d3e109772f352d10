"""The laws of server optimizers."""

from collections.abc import Callable

import numpy as np

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
from strategies.core.client_update import Arrays
from strategies.core.state import PartWithState, load_state_of, state_of
from strategies.optimization.server_optimizers import ServerOptimizer

MakeOptimizer = Callable[[], ServerOptimizer]


def has_the_form_of_the_weights(make: MakeOptimizer, weights: Arrays, delta: Arrays) -> None:
    """The new weights have the shapes and dtypes of the old ones."""
    demand_form(make().step(weights, delta, 1.0), weights)


def leaves_what_it_is_given_alone(make: MakeOptimizer, weights: Arrays, delta: Arrays) -> None:
    """Weights and delta are not changed, not by the next step either, and may be read-only."""
    given = [np.array(array) for array in [*weights, *delta]]
    before = bits_of(given)
    optimizer, half = make(), len(weights)
    first = optimizer.step(given[:half], given[half:], 1.0)
    after_one = bits_of(first)
    optimizer.step(first, given[half:], 1.0)
    demand(bits_of(given) == before, "the weights or the delta it was given are changed")
    demand(bits_of(first) == after_one, "the second step changes what the first one returned")
    make().step(frozen(weights), frozen(delta), 1.0)


def goes_on_from_its_state(make: MakeOptimizer, weights: Arrays, deltas: list[Arrays]) -> None:
    """Saved, and loaded into another one, it takes the very steps it would have taken."""
    whole, first = make(), make()
    expected, reached = weights, weights
    for index, delta in enumerate(deltas):
        expected = whole.step(expected, delta, 1.0)
        if index == len(deltas) // 2:
            second = make()
            if isinstance(first, PartWithState) and isinstance(second, PartWithState):
                second.load_state(first.state())
            first = second
        reached = first.step(reached, delta, 1.0)
    demand_same_bits(reached, expected, "after a resume it takes other steps")


def goes_back_to_its_state(make: MakeOptimizer, weights: Arrays, delta: Arrays) -> None:
    """Given back what it remembered, also nothing yet, it takes its last step once more.

    A round that is refused after the step needs that: it changes nothing.
    """
    optimizer = make()
    if not isinstance(optimizer, PartWithState):
        return
    for _ in range(2):
        before = state_of({"optimizer": optimizer})
        expected = [np.array(array) for array in optimizer.step(weights, delta, 1.0)]
        load_state_of({"optimizer": optimizer}, before)
        again = optimizer.step(weights, delta, 1.0)
        demand_same_bits(again, expected, "after it went back it takes another step")


def obeys_the_schedule(make: MakeOptimizer, weights: Arrays, delta: Arrays) -> None:
    """A learning rate of nothing moves nothing, whatever was learned before."""
    moved = make().step(weights, delta, 0.0)
    demand_close(moved, weights, 0.0, "with lr_factor = 0 it still moves the weights")
    optimizer = make()
    reached = [np.array(array) for array in optimizer.step(weights, delta, 1.0)]
    moved = optimizer.step(reached, delta, 0.0)
    demand_close(moved, reached, 0.0, "with lr_factor = 0 its second step moves the weights")


def moves_along_the_delta(make: MakeOptimizer, weights: Arrays, delta: Arrays) -> None:
    """The first step goes where the participants went, rather than the other way."""
    new = make().step(weights, delta, 1.0)
    along = sum(float(np.vdot(n - w, d)) for n, w, d in zip(new, weights, delta, strict=True))
    demand(along > 0, "its first step goes against the delta")


def _of_step(check: Callable[[MakeOptimizer, Arrays, Arrays], None]) -> Callable[..., None]:
    def drawn(build: Build, generator: np.random.Generator) -> None:
        check(build, example_arrays(generator), example_arrays(generator))

    return drawn


def _resume(build: Build, generator: np.random.Generator) -> None:
    deltas = [example_arrays(generator) for _ in range(4)]
    goes_on_from_its_state(build, example_arrays(generator), deltas)


LAWS = (
    Law(
        "the new weights have the shapes and dtypes of the old",
        _of_step(has_the_form_of_the_weights),
    ),
    Law(
        "what it is given stays as it is, and may be read-only",
        _of_step(leaves_what_it_is_given_alone),
    ),
    Law("a resumed run takes the same steps", _resume),
    Law("after a refused round it takes the same step", _of_step(goes_back_to_its_state)),
    Law("a learning rate of nothing moves nothing", _of_step(obeys_the_schedule)),
    Law("the first step goes along the delta", _of_step(moves_along_the_delta), needed=False),
)
