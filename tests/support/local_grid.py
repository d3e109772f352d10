"""The grid of `scripts.harness.in_process_grid`, where the tests look for it."""

from scripts.harness.in_process_grid import Fault, InProcessGrid

__all__ = ["Fault", "InProcessGrid"]
