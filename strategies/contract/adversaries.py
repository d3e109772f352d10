"""The laws of adversaries."""

import numpy as np

from strategies.attacks import Scene
from strategies.contract.comparisons import (
    demand,
    demand_form,
    demand_same_bits,
    example_arrays,
    frozen,
)
from strategies.contract.laws import Build, Law
from strategies.core.client_update import Arrays, ClientUpdate, check_update

_NUM_CLASSES = 10


def _poisons_labels(build: Build, generator: np.random.Generator) -> None:
    labels = generator.integers(0, _NUM_CLASSES, 50)
    labels.setflags(write=False)  # other participants train on them
    poisoned = np.asarray(build().poison_labels(labels, _NUM_CLASSES))
    demand_form([poisoned], [labels])
    demand(bool(((poisoned >= 0) & (poisoned < _NUM_CLASSES)).all()), "it poisons with no label")


def _gets_through(build: Build, generator: np.random.Generator) -> None:
    delta = example_arrays(generator)
    lie, num_examples = build().poison_update(frozen(delta), 100, _scene([delta] * 3))
    check_update(ClientUpdate("liar", lie, num_examples), delta)


def _is_repeatable(build: Build, generator: np.random.Generator) -> None:
    delta = example_arrays(generator)
    first, second = (build().poison_update(delta, 100, _scene([delta] * 3))[0] for _ in range(2))
    demand_same_bits(first, second, "the second time it lies otherwise")


def _scene(honest: list[Arrays]) -> Scene:
    others = [frozen(delta) for delta in honest]  # which adversaries share
    return Scene(10, len(honest), lambda: others, np.random.default_rng(1))


LAWS = (
    Law("labels stay as they are, and become labels", _poisons_labels),
    Law("the lie is an update that the server accepts", _gets_through),
    Law("equal generators give equal lies", _is_repeatable),
)
