from functools import partial
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.server.client_manager import SimpleClientManager
from flwr.server.strategy import FedAvg, Strategy

from fl_app.core.metrics import ACCURACY, Sum, encode
from fl_app.messaging.client_registry import ClientRegistry
from fl_app.messaging.fit_config import TRAIN_MEASURES_KEY
from fl_app.messaging.replies import merged_metrics, num_bytes
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_results import AggregateResult, TrainResult
from fl_app.rounds.round_strategy import round_strategy
from scripts.harness.in_process_grid import Fault, InProcessGrid
from strategies import DeltaFedAvg
from strategies.core.npy import GlobalWeights

METRICS = {"accuracy": ACCURACY}
W_T = GlobalWeights([np.array([10.0, 20.0], np.float32)])


class Toy(NumPyClient):
    """Participant i holds i + 1 examples, and moves every weight by i + 1."""

    def __init__(self, partition_id: int) -> None:
        self._n = partition_id + 1

    def get_properties(self, config):
        return {"participant": str(self._n - 1)}

    def fit(self, parameters, config):
        moved = np.full(2, self._n, np.float32)
        sums = {"loss": Sum(np.array(self._n**2 / 1), self._n), "accuracy": Sum(np.array(1.0), 2)}
        metrics = {TRAIN_MEASURES_KEY: encode(sums), "update-norm": 1.5}
        if config.get("update") == "delta":
            return [moved], self._n, {"update": "delta", **metrics}
        return [parameters[0] + moved], self._n, metrics

    def evaluate(self, parameters, config):
        return float(self._n), self._n, {"accuracy": 1 / self._n}


def toy_client(context: Context) -> Client:
    return Toy(int(context.node_config["partition-id"])).to_client()


def phases_of(
    num_nodes: int,
    faults: dict[int, Fault] | None = None,
    strategy: Strategy | None = None,
    order: int = 0,
    **arguments: Any,
) -> Phases:
    grid = InProcessGrid(ClientApp(toy_client), {}, num_nodes, order=order, faults=faults)
    manager = SimpleClientManager()
    ClientRegistry(grid, manager).refresh()
    training = partial(merged_metrics, TRAIN_MEASURES_KEY, METRICS)
    ours = DeltaFedAvg(fit_metrics_aggregation_fn=training)
    return Phases(grid, manager, round_strategy(strategy or ours), metrics=METRICS, **arguments)


def weights(fit: AggregateResult) -> list[float]:
    assert fit.weights is not None
    (array,) = fit.weights.arrays
    values: list[float] = array.tolist()
    return values


def fit_of(phases: Phases) -> AggregateResult:
    return phases.aggregate(phases.train(1, W_T))


def error(message, reply):
    return Message(Error(3, "no memory"), reply_to=message)


def silence(message, reply):
    return None


def without_content(message, reply):
    return Message(RecordDict(), reply_to=message)


def not_a_number(message, reply):
    answer = reply()
    if message.metadata.message_type == "train":
        arrays = answer.content.array_records["fitres.parameters"]
        for array in arrays.values():
            size = np.float32(0).nbytes
            array.data = array.data[:-size] + np.float32(np.nan).tobytes()
    return answer


def test_a_fit_phase_by_hand():
    # delta = (1 * 1 + 2 * 2 + 3 * 3) / 6 = 14 / 6
    fit = fit_of(phases_of(3))

    assert weights(fit) == pytest.approx([10 + 14 / 6, 20 + 14 / 6], rel=1e-6)
    assert fit.train_loss == pytest.approx(14 / 6)
    assert fit.train_metrics["accuracy"] == pytest.approx(0.5)
    assert fit.seconds > 0


def test_everybody_who_was_asked_is_described():
    fit = fit_of(phases_of(3))

    assert [p.participant for p in fit.participants] == ["0", "1", "2"]
    assert [p.num_examples for p in fit.participants] == [1, 2, 3]
    assert [p.train_loss for p in fit.participants] == [1.0, 2.0, 3.0]
    for report in fit.participants:
        assert report.failure is None
        assert report.update_norm == 1.5
        assert report.bytes_down == report.bytes_up == num_bytes(W_T.parameters)
        assert report.round_trip_seconds is not None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (error, "no memory"),
        (silence, "no reply within the deadline of 0.2 s"),
        (not_a_number, "array 0 holds 1 values that are not finite"),
        (without_content, "cannot be used"),
    ],
)
def test_who_fails_is_named_with_the_cause_and_the_others_count(fault, reason):
    # Without participant 1: (1 * 1 + 3 * 3) / 4 = 2.5
    fit = fit_of(phases_of(3, {1: fault}, deadline=0.2))

    assert weights(fit) == [12.5, 22.5]
    assert [p.failure is None for p in fit.participants] == [True, False, True]
    assert reason in str(fit.participants[1].failure)


def test_where_all_fail_nothing_changes():
    fit = fit_of(phases_of(2, {0: error, 1: not_a_number}))

    assert fit.weights is None
    assert fit.train_loss is None
    assert [p.failure is None for p in fit.participants] == [False, False]


def test_any_flower_strategy_will_do():
    fit = fit_of(phases_of(3, strategy=FedAvg(fit_metrics_aggregation_fn=lambda _: {})))

    assert weights(fit) == pytest.approx([10 + 14 / 6, 20 + 14 / 6], rel=1e-6)
    assert fit.train_loss is None


def test_an_evaluate_phase_by_hand():
    # loss: (1 * 1 + 2 * 2 + 3 * 3) / 6; accuracy: (1 * 1 + 2 / 2 + 3 / 3) / 6
    evaluation = phases_of(3).evaluate(1, W_T)

    assert evaluation.score is not None
    assert evaluation.score.loss == pytest.approx(14 / 6)
    assert evaluation.score.metrics["accuracy"] == pytest.approx(0.5)
    assert evaluation.score.num_examples == 6
    assert evaluation.failures == {}
    assert evaluation.bytes_down == 3 * num_bytes(W_T.parameters)


def test_who_fails_to_evaluate_is_named_and_the_others_count():
    evaluation = phases_of(3, {0: silence, 1: error}, deadline=0.2).evaluate(1, W_T)

    assert evaluation.failures == {"0": "no reply within the deadline of 0.2 s", "1": "no memory"}
    assert evaluation.score is not None
    assert (evaluation.score.loss, evaluation.score.num_examples) == (3.0, 3)


def test_the_examples_of_a_score_are_those_it_was_averaged_over():
    def infinite_loss(message, reply):
        answer = reply()
        answer.content.metric_records["evaluateres.loss"]["loss"] = float("inf")
        return answer

    evaluation = phases_of(3, {0: infinite_loss}).evaluate(1, W_T)

    assert evaluation.score is not None
    assert evaluation.score.num_examples == 5


def test_where_nobody_evaluates_there_is_no_score():
    assert phases_of(2, {0: error, 1: error}).evaluate(1, W_T).score is None
    off = phases_of(2, strategy=DeltaFedAvg(fraction_evaluate=0.0)).evaluate(1, W_T)
    assert (off.score, off.failures, off.bytes_down) == (None, {}, 0)


def test_the_order_of_arrival_changes_no_bit_and_no_parameters_are_kept():
    thirds = GlobalWeights([np.array([1 / 3, 2 / 3], np.float32)])

    def phase(order: int) -> tuple[AggregateResult, TrainResult]:
        phases = phases_of(25, order=order)
        trained = phases.train(1, thirds)
        return phases.aggregate(trained), trained

    first, trained = phase(0)
    assert all(not result.parameters.tensors for _, result in trained.results)
    assert all(reply.content is None for reply in trained.replies)
    for order in range(1, 4):
        fit, _ = phase(order)
        assert fit.weights is not None
        assert first.weights is not None
        assert fit.weights.parameters == first.weights.parameters
        assert [p.num_examples for p in fit.participants] == list(range(1, 26))
        assert {p.bytes_up for p in fit.participants} == {num_bytes(W_T.parameters)}


def test_an_answer_of_somebody_else_does_not_count():
    class Impostor(Toy):
        def fit(self, parameters, config):
            arrays, examples, metrics = super().fit(parameters, config)
            return arrays, examples, metrics | {"participant": "0"}

    def client(context: Context) -> Client:
        return Impostor(int(context.node_config["partition-id"])).to_client()

    grid = InProcessGrid(ClientApp(client), {}, 2)
    manager = SimpleClientManager()
    ClientRegistry(grid, manager).refresh()

    fit = fit_of(Phases(grid, manager, round_strategy(DeltaFedAvg())))

    assert weights(fit) == [11.0, 21.0]
    assert fit.participants[0].failure is None
    assert "it comes from participant '0'" in str(fit.participants[1].failure)
