"""The federated algorithm: what users of this project extend.

Everything here is plain NumPy except `DeltaFedAvg`, the one Flower strategy.
"""

from strategies.aggregators import weighted_mean
from strategies.delta_fedavg import DeltaFedAvg
from strategies.updates import AggregationError, Arrays, ClientUpdate, UpdateError

__all__ = [
    "AggregationError",
    "Arrays",
    "ClientUpdate",
    "DeltaFedAvg",
    "UpdateError",
    "weighted_mean",
]
