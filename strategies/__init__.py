"""The federated algorithm: what users of this project extend.

Everything here is plain NumPy except `DeltaFedAvg`, the one Flower strategy. What this package
exports is imported when it is first used: a run config is checked by `strategies.registry` alone,
and need not wait for Flower and torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.aggregation.base import Aggregator
    from strategies.aggregation.weighted_mean import weighted_mean
    from strategies.core.client_update import AggregationError, Arrays, ClientUpdate, UpdateError
    from strategies.delta_fedavg import DeltaFedAvg

__all__ = [
    "AggregationError",
    "Aggregator",
    "Arrays",
    "ClientUpdate",
    "DeltaFedAvg",
    "UpdateError",
    "weighted_mean",
]

_MODULES = {
    "Aggregator": "aggregation.base",
    "DeltaFedAvg": "delta_fedavg",
    "weighted_mean": "aggregation.weighted_mean",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class, a function or a type
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "core.client_update")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
