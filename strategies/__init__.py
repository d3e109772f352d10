"""The federated algorithm: what users of this project extend.

Everything here is plain NumPy except `DeltaFedAvg`, the one Flower strategy.
"""

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
