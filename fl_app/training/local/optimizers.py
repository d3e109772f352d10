"""Local optimizers other than SGD, which has a loop of its own: torch's, begun anew each round.

One of your own is named in the run config like any part,
`local-optimizer = "/home/me/steps.py:lion(beta=0.9)"`: a function of the parameters, the learning
rate and the weight decay that returns a `torch.optim.Optimizer`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from fl_app.core.errors import ConfigError

LocalOptimizer = Callable[[list[Tensor], float, float], Optimizer]


def adamw(
    parameters: list[Tensor],
    learning_rate: float,
    weight_decay: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Optimizer:
    """Adam with decoupled weight decay.

    Args:
        parameters: What is trained.
        learning_rate: Step size (run-config key learning-rate).
        weight_decay: Decoupled from the gradient (run-config key weight-decay).
        beta1: Decay of the mean of the gradients.
        beta2: Decay of the mean of their squares.
        eps: Added to the denominator.

    Raises:
        ConfigError: If `eps` is 0 in the dtype of a parameter.

    Source: Loshchilov and Hutter, ICLR 2019, arXiv:1711.05101; torch.optim.AdamW.
    """
    _check_eps(parameters, eps)
    return AdamW(parameters, learning_rate, (beta1, beta2), eps, weight_decay)


def adam(
    parameters: list[Tensor],
    learning_rate: float,
    weight_decay: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Optimizer:
    """Adam; weight decay is a part of the gradient.

    Args:
        parameters: What is trained.
        learning_rate: Step size (run-config key learning-rate).
        weight_decay: Run-config key weight-decay.
        beta1: Decay of the mean of the gradients.
        beta2: Decay of the mean of their squares.
        eps: Added to the denominator.

    Raises:
        ConfigError: If `eps` is 0 in the dtype of a parameter.

    Source: Kingma and Ba, ICLR 2015, arXiv:1412.6980; torch.optim.Adam.
    """
    _check_eps(parameters, eps)
    return Adam(parameters, learning_rate, (beta1, beta2), eps, weight_decay)


def _check_eps(parameters: Sequence[Tensor], eps: float) -> None:
    """Refuse an eps that is 0 in the dtype of a parameter: a gradient of 0 would make it NaN.

    Raises:
        ConfigError: Says which eps would do.
    """
    for dtype in {parameter.dtype for parameter in parameters}:
        if eps > 0 and torch.tensor(eps, dtype=dtype).item() == 0:
            name = str(dtype).removeprefix("torch.")
            raise ConfigError(
                f"run config: local-optimizer has eps = {eps:g}, which is 0 in {name}, the type of "
                "some parameters; write for instance adamw(eps=0.0001)"
            )


def clipped(gradients: Sequence[Tensor | None], max_norm: float) -> list[Tensor | None]:
    """Return gradients whose Euclidean norm, all together, is at most `max_norm`.

    As torch.nn.utils.clip_grad_norm_, but nothing is written into the gradients, of which several
    may share their memory. Where the norm is not finite, so is what is returned.
    """
    known = [g for g in gradients if g is not None]
    total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(known)))
    factor = torch.clamp(max_norm / (total + 1e-6), max=1.0)
    return [None if g is None else g * factor.to(g.dtype) for g in gradients]
