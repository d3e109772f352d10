"""Laws of a task's model and of its training: what is learned travels, and can be learned again."""

import numpy as np
import torch
from safetensors.numpy import load, save

from fl_app.contract.trial import EXAMPLES, trial_of
from fl_app.core.metrics import LOSS
from fl_app.tasks.checks import check_gradient
from fl_app.tasks.model.federated_model import held_tensors, model_spec, trained_parameters
from fl_app.tasks.model.parameters import get_weights, load_state, set_weights, state_arrays
from strategies.contract.comparisons import bits_of, demand
from strategies.contract.laws import Build

_OTHER_SEED = 2
_EPOCHS = 10
_LEARNING_RATES = (0.1, 0.01, 0.001)


def begins_alike(build: Build, generator: np.random.Generator) -> None:
    """Every participant builds the model by itself, and has what does not travel from there."""
    one, other = (trial.model() for trial in (trial_of(build), trial_of(build).second))
    first, second = state_arrays(one), state_arrays(other)
    demand(
        first.keys() == second.keys(),
        f"two builds differ in {sorted(first.keys() ^ second.keys())}; let build_model depend on "
        "the task's options alone",
    )
    differing = [n for n in first if bits_of([first[n]]) != bits_of([second[n]])]
    demand(
        not differing,
        f"with one seed {', '.join(differing)} begins with other values in each build; draw them "
        "by torch's own generator (nn.init, torch.randn), which is seeded, and not by NumPy's or "
        "Python's",
    )


def federates_the_same(build: Build, generator: np.random.Generator) -> None:
    """What travels is the same everywhere, and what is local is not in it."""
    trial = trial_of(build)
    model, other = trial.model(), trial.second.model()
    one, two = model_spec(model), model_spec(other)
    demand(
        one.tensors == two.tensors,
        f"two builds federate other tensors: {sorted(set(one.names) ^ set(two.names))}; let "
        "is_federated depend on the name alone",
    )
    names = [name for held in held_tensors(model) for name in held.names]
    wrong = [name for name in names if not isinstance(trial.task.is_federated(name), bool)]
    demand(not wrong, f"is_federated gave neither True nor False for {wrong}")


def reaches_every_parameter(build: Build, generator: np.random.Generator) -> None:
    """A parameter that the loss does not depend on costs traffic and learns nothing."""
    trial = trial_of(build)
    model = trial.model()
    model.train()
    batch = trial.batch(trial.some(generator))
    with torch.random.fork_rng(devices=[]):
        loss = trial.task.loss(trial.task.outputs(model, batch), batch)
    parameters = trained_parameters(model)
    check_gradient(trial.task, loss)
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    without = [n for n, g in zip(parameters, gradients, strict=True) if g is None]
    demand(
        not without,
        f"the loss of a batch does not depend on {', '.join(without)}; use it in forward, set "
        "requires_grad = False, or leave it out",
    )


def trains_alike(build: Build, generator: np.random.Generator) -> None:
    """A resumed run repeats a round, and must come to the same bits."""
    trial = trial_of(build)
    examples = trial.some(generator)
    (one, _), (other, _) = trial.update(examples), trial.second.update(examples)
    demand(
        bits_of(one.weights) == bits_of(other.weights),
        "a second local update with the same seed gives other weights; draw random numbers in "
        "forward and loss by torch's own generator, which is seeded, and keep nothing between "
        "calls in the task or the model",
    )


def leaves_frozen_parameters(build: Build, generator: np.random.Generator) -> None:
    """What has no gradient does not travel, so nobody would hear of a change."""
    trial = trial_of(build)
    before = {h.names[0]: h.tensor.clone() for h in held_tensors(trial.model()) if h.frozen}
    _, model = trial.update(trial.some(generator))
    after = {held.names[0]: held.tensor for held in held_tensors(model)}
    moved = [name for name, old in before.items() if not torch.equal(old, after[name])]
    demand(
        not moved,
        f"training changes {', '.join(moved)}, which has requires_grad = False; such parameters do "
        "not travel: register it as a buffer if it is a statistic, or train it",
    )


def comes_back_from_its_weights(build: Build, generator: np.random.Generator) -> None:
    """Weights and file hold all that a model's answer depends on."""
    trial = trial_of(build)
    _, trained = trial.update(trial.some(generator))
    saved = load(save(state_arrays(trained)))
    loaded, sent = trial.model(_OTHER_SEED), trial.model(_OTHER_SEED)
    load_state(loaded, saved)
    load_state(sent, {n: a for n, a in saved.items() if n not in _travelling(trained)})
    set_weights(sent, get_weights(trained))
    batch = trial.batch(trial.some(generator))
    expected = trial.measured(trained, batch)
    for how, model in (("loaded from its file", loaded), ("with its weights set", sent)):
        found = trial.measured(model, batch)
        differing = [
            name
            for name, pair in expected.items()
            if not np.array_equal(pair.total, found[name].total, equal_nan=True)
        ]
        demand(
            not differing,
            f"a model {how} gives another {', '.join(differing)}; its answer depends on something "
            "that is neither a parameter nor a buffer of its state dict: register_buffer it",
        )


def can_learn(build: Build, generator: np.random.Generator) -> None:
    """A few epochs on a dozen examples lower their loss, with one of three step sizes."""
    trial = trial_of(build)
    examples = trial.some(generator)
    batch = trial.batch(examples)
    before = trial.measured(trial.model(), batch)[LOSS].total
    learned = any(
        trial.measured(trial.update(examples, _EPOCHS, rate)[1], batch)[LOSS].total < before
        for rate in _LEARNING_RATES
    )
    rates = ", ".join(f"{rate:g}" for rate in _LEARNING_RATES)
    demand(
        learned,
        f"{_EPOCHS} epochs on {EXAMPLES} examples do not lower their loss of {before:.4g} with "
        f"learning-rate {rates}; scale inputs and targets to about 1, and look for a loss with "
        "the wrong sign",
    )


def _travelling(model: torch.nn.Module) -> set[str]:
    spec = model_spec(model)
    return {name for tensor in spec.tensors for name in (tensor.name, *tensor.tied_to)}
