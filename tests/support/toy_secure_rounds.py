"""One round of secure aggregation with toy participants."""

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS

from fl_app.core.metrics import Sum, encode
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures
from fl_app.messaging.fit_config import TRAIN_MEASURES_KEY
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_results import AggregateResult
from fl_app.secure_aggregation.client_mod import secure_aggregation
from fl_app.secure_aggregation.settings import SecureSettings
from scripts.harness.in_process_grid import Fault
from strategies.core.npy import GlobalWeights

W_T = GlobalWeights([np.array([[10.0, 20.0]], np.float32), np.array(5.0, np.float32)])
SETTINGS = SecureSettings(clip_norm=4.0)
STAGES = ("setup", "share_keys", "collect_masked_vectors", "unmask")


class Toy(NumPyClient):
    """Participant i holds i + 1 examples and moves the weights by its index over 4, and by 1."""

    def __init__(self, index: int) -> None:
        self.index = index

    def get_properties(self, config):
        return {"participant": str(self.index), "num-examples": self.index + 1}

    def fit(self, parameters, config):
        moved = np.array([[self.index / 4, -self.index / 4]], np.float32)
        count = self.index + 1
        sums = {"loss": Sum(np.array(float(self.index * count)), count)}
        metrics = {"update": "delta", TRAIN_MEASURES_KEY: encode(sums)}
        return [moved, np.array(1.0, np.float32)], self.index + 1, metrics


def app_of(make: Callable[[int], Toy]) -> ClientApp:
    """The app of participants that are made of their indices."""

    def client(context: Context) -> Client:
        return make(int(context.node_config["partition-id"])).to_client()

    return ClientApp(client, mods=[report_failures, give_up_at_deadline, secure_aggregation])


APP = app_of(Toy)


def fit_of(phases: Phases) -> AggregateResult:
    return phases.aggregate(phases.train(1, W_T))


def weights(fit: AggregateResult) -> list[float]:
    assert fit.weights is not None
    matrix, scalar = fit.weights.arrays
    assert (matrix.shape, scalar.shape) == ((1, 2), ())
    return [*matrix.ravel().tolist(), scalar.tolist()]


def expected(indices: list[int]) -> list[float]:
    """The plain weighted mean, added to the weights."""
    mean = sum((i + 1) * i / 4 for i in indices) / sum(i + 1 for i in indices)
    return [10 + mean, 20 - mean, 6.0]


def in_stage(stage: str, fault: Fault) -> Fault:
    def at_that_stage(message, reply):
        configs = message.content.config_records.get(RECORD_KEY_CONFIGS, {})
        return fault(message, reply) if configs.get("stage") == stage else reply()

    return at_that_stage


def error(message, reply):
    return Message(Error(3, "no memory"), reply_to=message)


def silence(message, reply):
    return None


def answering(**changes: Any) -> Fault:
    """A participant whose answers are tampered with: key by key, by value or by function."""

    def tampered(message, reply):
        answer = reply()
        record = answer.content.config_records[RECORD_KEY_CONFIGS]
        for key, change in changes.items():
            record[key] = change(record[key]) if callable(change) else change
        return answer

    return tampered


def failures(fit: AggregateResult) -> dict[str, str]:
    return {p.participant: p.failure for p in fit.participants if p.failure is not None}
