"""The adaptive server optimizers in the form of their paper, as one torch optimizer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class FedOpt(torch.optim.Optimizer):
    """FedAdam, FedAdagrad and FedYogi: algorithm 2 of the paper.

        m <- beta1 * m + (1 - beta1) * delta
        v <- v + delta^2                                           (adagrad)
        v <- v - (1 - beta2) * delta^2 * sign(v - delta^2)         (yogi)
        v <- beta2 * v + (1 - beta2) * delta^2                     (adam)
        w <- w + lr * m / (sqrt(v) + tau)

    with m = 0 and v = tau^2 at first. Unlike `torch.optim.Adam` it does not correct the bias of
    the moments; torch has no Yogi.

    Source: Reddi et al., ICLR 2021, arXiv:2003.00295.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        second_moment: str,
        betas: tuple[float, float] = (0.9, 0.99),
        tau: float = 1e-3,
    ) -> None:
        """Set up.

        Args:
            parameters: What to move, along minus their gradients.
            lr: Learning rate.
            second_moment: `"adam"`, `"adagrad"` or `"yogi"`.
            betas: How much of either moment is kept; adagrad has no use for the second.
            tau: How adaptive: the larger, the less.
        """
        super().__init__(parameters, {"lr": lr, "betas": betas, "tau": tau})
        self._second_moment = _SECOND_MOMENTS[second_moment]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter once."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                delta = -parameter.grad
                state = self.state[parameter]
                if not state:
                    state["m"] = torch.zeros_like(parameter)
                    state["v"] = torch.full_like(parameter, group["tau"] ** 2)
                state["m"] = beta1 * state["m"] + (1 - beta1) * delta
                state["v"] = self._second_moment(state["v"], delta**2, beta2)
                parameter += group["lr"] * state["m"] / (state["v"].sqrt() + group["tau"])


def _adam(v: Tensor, square: Tensor, beta2: float) -> Tensor:
    return beta2 * v + (1 - beta2) * square


def _adagrad(v: Tensor, square: Tensor, beta2: float) -> Tensor:
    return v + square


def _yogi(v: Tensor, square: Tensor, beta2: float) -> Tensor:
    return v - (1 - beta2) * square * torch.sign(v - square)


_SECOND_MOMENTS = {"adam": _adam, "adagrad": _adagrad, "yogi": _yogi}
