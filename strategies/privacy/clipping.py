"""Transforms: what a participant does to its delta before it is encoded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.core.client_update import Arrays
from strategies.core.vectors import euclidean_norm
from strategies.privacy.secure_random import SecureGaussian

# More than float64 can lose in a norm and a product, and too little to matter.
_SLACK = 1e-12


def clip(delta: Arrays, clip_norm: float) -> Arrays:
    """Scale a delta down to a norm of at most `clip_norm`; one that is shorter stays as it is.

    The bound holds for the values as they are stored, in any dtype: they are rounded towards 0.

    Args:
        delta: One floating-point array per parameter, finite.
        clip_norm: The longest it may be, in Euclidean norm over all parameters.

    Returns:
        Arrays of the same shapes and dtypes.
    """
    norm = euclidean_norm(delta)
    if norm <= clip_norm:
        return list(delta)
    factor = clip_norm / norm * (1 - _SLACK)
    return [_towards_zero(d.astype(np.float64) * factor, d.dtype) for d in delta]


def _towards_zero(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    rounded = np.asarray(values, dtype)
    longer = np.abs(rounded) > np.abs(values)
    return np.where(longer, np.nextafter(rounded, dtype.type(0)), rounded)


def add_noise(delta: Arrays, std: float, noise: SecureGaussian) -> Arrays:
    """Add Gaussian noise of standard deviation `std` to every value."""
    return [np.asarray(d + noise.sample(d.shape, std), d.dtype) for d in delta]


@dataclass(frozen=True)
class Protection:
    """What a participant does for its own privacy.

    Attributes:
        clip_norm: Its delta is clipped to this norm; 0 is not at all.
        noise_multiplier: Standard deviation of the noise that it adds to every value, over the
            clip norm: its share of the round's noise. 0 is none.
        private: Whether its reply is to tell nothing of it but the protected delta.
    """

    clip_norm: float = 0.0
    noise_multiplier: float = 0.0
    private: bool = False

    def apply(self, delta: Arrays, noise: SecureGaussian | None = None) -> Arrays:
        """Clip a delta and add the participant's share of the noise to it.

        Args:
            delta: One array per parameter, finite.
            noise: Where the noise comes from.
        """
        if self.clip_norm == 0:
            return list(delta)
        clipped = clip(delta, self.clip_norm)
        if self.noise_multiplier == 0:
            return clipped
        std = self.noise_multiplier * self.clip_norm
        return add_noise(clipped, std, noise or SecureGaussian())


UNPROTECTED = Protection()
"""Neither clipped nor noisy."""
