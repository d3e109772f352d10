"""A private mean with noise that is known, and updates for it."""

from typing import Any

import numpy as np

from strategies.core.client_update import ClientUpdate
from strategies.privacy.accountant import PrivacyLedger
from strategies.privacy.gaussian_mean import PrivateMean
from strategies.privacy.secure_random import SecureGaussian

DELTA = 1e-5


class Fixed(SecureGaussian):
    """`sigmas` standard deviations, everywhere; remembers the standard deviations asked for."""

    def __init__(self, sigmas: float = 0.0) -> None:
        super().__init__()
        self.sigmas = sigmas
        self.stds: list[float] = []

    def sample(self, shape: tuple[int, ...], std: float) -> Any:
        self.stds.append(std)
        return np.full(shape, self.sigmas * std)


def update(name: str, *values: float, num_examples: int = 1) -> ClientUpdate:
    return ClientUpdate(name, [np.array(values, np.float32)], num_examples)


def private_mean(num_planned: int = 2, **arguments: Any) -> PrivateMean:
    ledger = PrivacyLedger(DELTA, lambda text: None, budget=arguments.pop("budget", None))
    defaults: dict[str, Any] = {"clip_norm": 1.0, "noise_multiplier": 2.0, "noise": Fixed()}
    return PrivateMean(num_planned=num_planned, ledger=ledger, **(defaults | arguments))
