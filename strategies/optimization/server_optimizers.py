"""Server optimizers: from one delta to the next global weights.

The pseudo-gradient of a round is minus its aggregated delta, and a stock `torch.optim` optimizer
takes a step along it. What it remembers between rounds goes into the checkpoint.

| name | is | differs from its paper |
| --- | --- | --- |
| `sgd` | plain averaging at `lr = 1`; FedAvgM with `momentum` | no |
| `adam`, `adagrad`, `yogi` | FedAdam, FedAdagrad, FedYogi in the paper's form | no |
| `torch-adam` | `torch.optim.Adam` | corrects the bias of both moments; `tau` is added after it |
| `torch-adagrad` | `torch.optim.Adagrad` | no momentum on the pseudo-gradient |

Source: Reddi et al., ICLR 2021, arXiv:2003.00295; Hsu et al., 2019, arXiv:1909.06335.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from strategies.core.client_update import Arrays
from strategies.optimization.fedopt import FedOpt


class ServerOptimizer(Protocol):
    """Step 4 of the algorithm; one that remembers something is also a `PartWithState`."""

    def step(self, weights: Arrays, delta: Arrays, lr_factor: float) -> Arrays:
        """Return the new global weights.

        Args:
            weights: Those of the global weights `w_t` that are trained; not changed.
            delta: The aggregated delta, shaped like them; not changed.
            lr_factor: What the learning-rate schedule says of this round.
        """
        ...


class TorchOptimizer:
    """Any `torch.optim` optimizer, as a server optimizer."""

    def __init__(self, build: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> None:
        """Set up.

        Args:
            build: From the parameters to the optimizer.
        """
        self._build = build
        self._tensors: list[torch.Tensor] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._loaded: dict[str, NDArray[Any]] = {}

    def step(self, weights: Arrays, delta: Arrays, lr_factor: float = 1.0) -> Arrays:
        """Take one step along the pseudo-gradient; see `ServerOptimizer.step`."""
        optimizer = self._prepared(weights)
        rates = [group["lr"] for group in optimizer.param_groups]
        for tensor, w, d in zip(self._tensors, weights, delta, strict=True):
            tensor.copy_(torch.tensor(w))
            tensor.grad = torch.tensor(-d)
        try:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * lr_factor
            optimizer.step()
        finally:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        return [tensor.numpy().copy() for tensor in self._tensors]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what the optimizer remembers, by parameter: `"000003/exp_avg"`."""
        if self._optimizer is None:
            return dict(self._loaded)
        named = {}
        for index, tensor in enumerate(self._tensors):
            for name, value in self._optimizer.state[tensor].items():
                if value is not None:
                    named[f"{index:06d}/{name}"] = torch.as_tensor(value).numpy().copy()
        return named

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned, with the next step."""
        self._loaded = dict(state)
        self._optimizer = None

    def _prepared(self, weights: Arrays) -> torch.optim.Optimizer:
        if self._optimizer is None:
            self._tensors = [torch.tensor(w) for w in weights]
            self._optimizer = self._build(self._tensors)
            for key, array in self._loaded.items():
                index, _, name = key.partition("/")
                tensor = self._tensors[int(index)]
                self._optimizer.state[tensor][name] = torch.tensor(array)
        return self._optimizer


def sgd(
    lr: float = 1.0, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> ServerOptimizer:
    """`torch.optim.SGD`; `lr = 1` without momentum is `w_t + delta` to the bit.

    Args:
        lr: Learning rate.
        momentum: Of the pseudo-gradient, not dampened: FedAvgM.
        nesterov: Nesterov's form of it.
        weight_decay: Added to the pseudo-gradient, times the weights.

    Source: Hsu et al., 2019, arXiv:1909.06335.
    """
    _check(lr=lr, weight_decay=weight_decay)
    _check_share(momentum=momentum)
    return TorchOptimizer(
        lambda tensors: torch.optim.SGD(
            tensors, lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )
    )


def adam(
    lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3
) -> ServerOptimizer:
    """FedAdam in the paper's form: no correction of the moments' bias.

    Args:
        lr: Learning rate.
        beta1: How much of the mean of past deltas is kept.
        beta2: How much of the mean of their squares is kept.
        tau: How adaptive: the larger, the less.

    Source: Reddi et al., ICLR 2021, arXiv:2003.00295.
    """
    return _fedopt("adam", lr, beta1, beta2, tau)


def adagrad(lr: float = 0.01, beta1: float = 0.9, tau: float = 1e-3) -> ServerOptimizer:
    """FedAdagrad in the paper's form: the squares of past deltas are added up.

    Args:
        lr: Learning rate.
        beta1: How much of the mean of past deltas is kept.
        tau: How adaptive: the larger, the less.

    Source: Reddi et al., ICLR 2021, arXiv:2003.00295.
    """
    return _fedopt("adagrad", lr, beta1, 0.0, tau)


def yogi(
    lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3
) -> ServerOptimizer:
    """FedYogi in the paper's form: Adam whose mean of squares moves by less at a time.

    Args:
        lr: Learning rate.
        beta1: How much of the mean of past deltas is kept.
        beta2: How little the mean of their squares moves at a time.
        tau: How adaptive: the larger, the less.

    Source: Reddi et al., ICLR 2021, arXiv:2003.00295.
    """
    return _fedopt("yogi", lr, beta1, beta2, tau)


def _fedopt(
    second_moment: str, lr: float, beta1: float, beta2: float, tau: float
) -> ServerOptimizer:
    _check(lr=lr)
    _check_share(beta1=beta1, beta2=beta2)
    if tau <= 0:
        raise ValueError(f"tau = {tau} must be more than 0")
    return TorchOptimizer(lambda tensors: FedOpt(tensors, lr, second_moment, (beta1, beta2), tau))


def torch_adam(
    lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3
) -> ServerOptimizer:
    """`torch.optim.Adam`: corrects the bias of both moments, and adds `tau` after that.

    Args:
        lr: Learning rate.
        beta1: How much of the mean of past deltas is kept.
        beta2: How much of the mean of their squares is kept.
        tau: Its `eps`.
    """
    _check(lr=lr, tau=tau)
    _check_share(beta1=beta1, beta2=beta2)
    return TorchOptimizer(lambda tensors: torch.optim.Adam(tensors, lr, (beta1, beta2), tau))


def torch_adagrad(lr: float = 0.01, tau: float = 1e-3, initial: float = 0.0) -> ServerOptimizer:
    """`torch.optim.Adagrad`: no mean of past deltas.

    Args:
        lr: Learning rate.
        tau: Its `eps`.
        initial: The first value of the sum of squares.
    """
    _check(lr=lr, tau=tau, initial=initial)
    return TorchOptimizer(
        lambda tensors: torch.optim.Adagrad(tensors, lr, initial_accumulator_value=initial, eps=tau)
    )


def step_trainable(
    optimizer: ServerOptimizer,
    weights: Arrays,
    delta: Arrays,
    lr_factor: float,
    trainable: Sequence[bool] | None = None,
) -> Arrays:
    """Let an optimizer step what is trained; to statistics the delta is added.

    An adaptive step could make a running variance negative.

    Args:
        optimizer: Sees the trainable arrays only.
        weights: The global weights `w_t`.
        delta: The aggregated delta, shaped like them.
        lr_factor: See `ServerOptimizer.step`.
        trainable: Of each array, whether it has a gradient; `None` means all have.
    """
    if trainable is None:
        return optimizer.step(weights, delta, lr_factor)
    triples = list(zip(trainable, weights, delta, strict=True))
    moved = iter(
        optimizer.step(
            [w for trained, w, _ in triples if trained],
            [d for trained, _, d in triples if trained],
            lr_factor,
        )
    )
    return [next(moved) if trained else np.add(w, d) for trained, w, d in triples]


def plain(weights: Arrays, delta: Arrays) -> Arrays:
    """Return `w_t + delta`: step 4 of the algorithm as it is written."""
    return [np.add(w, d) for w, d in zip(weights, delta, strict=True)]


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= torch.finfo(torch.float32).max:
            raise ValueError(f"{name} = {value} must be a number from 0 to 3.4e38")


def _check_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} = {value} must be at least 0 and less than 1")
