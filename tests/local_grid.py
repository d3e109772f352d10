"""The grid of `scripts.local_grid`, where the tests look for it."""

from scripts.local_grid import Fault, LocalGrid

__all__ = ["Fault", "LocalGrid"]
