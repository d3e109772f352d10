"""What heterogeneous data asks of local training: gradients corrected, steps counted."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fl_app.tasks.model.federated_model import local_tensors, trained_parameters
from fl_app.tasks.model.parameters import as_tensors
from strategies.core.client_update import Arrays

Tensors = tuple[Tensor, ...] | list[Tensor]
"""What torch's functions over several tensors take and return."""


@dataclass(frozen=True)
class LocalCorrection:
    """What is added to every gradient of a round's local training.

    Attributes:
        mu: FedProx: `mu * (w - w_t)`, the gradient of `mu/2 * |w - w_t|^2`; 0 is none.
        drift: SCAFFOLD: `c - c_i`, one array per travelling tensor in model order; `None` is
            none. Those of buffers, which have no gradient, mean nothing.

    Source: Li et al., MLSys 2020, arXiv:1812.06127; Karimireddy et al., ICML 2020,
    arXiv:1910.06378.
    """

    mu: float = 0.0
    drift: Arrays | None = None

    def begin(self, model: nn.Module) -> "RoundCorrection | None":
        """Prepare for a round of training from the weights that are in the model now.

        Returns:
            What corrects the gradients; `None` if there is nothing to correct.
        """
        if self.mu == 0 and self.drift is None:
            return None
        parameters = trained_parameters(model)
        local = {held.names[0] for held in local_tensors(model)}
        start = [p.detach().clone() for p in parameters.values()] if self.mu else None
        drift = None
        if self.drift is not None:
            by_name = as_tensors(model, self.drift)
            drift = [torch.zeros_like(p) for p in parameters.values()]  # in the layout of p
            for tensor, name in zip(drift, parameters, strict=True):
                if name not in local:
                    tensor.copy_(by_name[name])
        federated = [name not in local for name in parameters] if local else None
        return RoundCorrection(self.mu, start, drift, federated)


@dataclass(frozen=True)
class RoundCorrection:
    """A correction with its tensors on the device, one per trained parameter.

    `federated` tells which of them travel; `None`: all. What is local is not pulled back.
    """

    mu: float
    start: list[Tensor] | None
    drift: list[Tensor] | None
    federated: list[bool] | None = None

    def applied_to(self, gradients: Tensors, parameters: Tensors) -> Tensors:
        """Return the corrected gradients of a step.

        Nothing is written into the tensors given: of autograd's, several may share their memory,
        and one may be a single number seen from everywhere.
        """
        if self.drift is not None:
            gradients = torch._foreach_add(gradients, self.drift)
        if self.start is not None:
            moved = torch._foreach_sub(parameters, self.start)
            if self.federated is not None:
                pairs = zip(moved, self.federated, strict=True)
                moved = tuple(m if f else m * 0 for m, f in pairs)
            gradients = torch._foreach_add(gradients, moved, alpha=self.mu)
        return gradients


def effective_steps(
    steps: int, learning_rate: float, momentum: float = 0.0, mu: float = 0.0
) -> float:
    """Return how far `steps` steps go, in steps of plain SGD: FedNova's |a_i|_1.

    The sum of the weights with which the gradients of a round enter its delta, found by
    running the update rule itself with all gradients 1. Plain SGD gives `steps`; momentum rho
    gives `(steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)`; the proximal term gives
    `(1 - (1 - learning_rate * mu)**steps) / (learning_rate * mu)`. Weight decay belongs to the
    objective and does not count.

    Source: Wang et al., NeurIPS 2020, arXiv:2007.07481, section 3.
    """
    if momentum == 0 and mu == 0:
        return float(steps)
    travelled = velocity = 0.0  # in units of the learning rate
    for _ in range(steps):
        velocity = momentum * velocity + 1 - mu * learning_rate * travelled
        travelled += velocity
    return travelled
