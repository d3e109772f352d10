from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerConfig
from flwr.server.compat import LegacyContext
from flwr.server.strategy import FedAvg

from fl_app.messaging.client_registry import QuorumError
from fl_app.results.records import RoundReport
from fl_app.rounds.round_loop import FederatedWorkflow, RoundHook, WorkflowSettings
from strategies import DeltaFedAvg
from strategies.privacy.accountant import BudgetSpent
from tests.support.local_grid import Fault, InProcessGrid


class Toy(NumPyClient):
    """Moves the only weight by 1 in every round."""

    def __init__(self, partition_id: int) -> None:
        self._name = str(partition_id)

    def get_properties(self, config):
        return {"participant": self._name}

    def fit(self, parameters, config):
        one = np.ones(1, np.float32)
        return [one if config.get("update") == "delta" else parameters[0] + one], 1, {}

    def evaluate(self, parameters, config):
        return float(parameters[0][0]), 1, {"accuracy": 0.5}


def toy_client(context: Context) -> Client:
    return Toy(int(context.node_config["partition-id"])).to_client()


class Recorder:
    """A hook that keeps what it is shown, and may do something after a round."""

    def __init__(self, act: Callable[[int], str | None] = lambda server_round: None) -> None:
        self.reports: list[RoundReport] = []
        self.weights: list[float] = []
        self._act = act

    def after_round(self, report: RoundReport, parameters: Parameters) -> str | None:
        self.reports.append(report)
        self.weights.append(float(parameters_to_ndarrays(parameters)[0][0]))
        return self._act(report.server_round)

    @property
    def rounds(self) -> list[int]:
        return [report.server_round for report in self.reports]


def grid_of(num_nodes: int, faults: dict[int, Fault] | None = None) -> InProcessGrid:
    return InProcessGrid(ClientApp(toy_client), {}, num_nodes, faults=faults)


def run(
    grid: InProcessGrid,
    hooks: Sequence[RoundHook],
    rounds: int = 3,
    strategy: FedAvg | None = None,
    **settings: Any,
) -> str:
    """Run a workflow from weight 0 and return why it ended."""
    start = ndarrays_to_parameters([np.zeros(1, np.float32)])
    strategy = strategy or DeltaFedAvg(
        initial_parameters=start,
        min_fit_clients=1,
        min_evaluate_clients=1,
        min_available_clients=1,
    )
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    legacy = LegacyContext(context, config=ServerConfig(num_rounds=rounds), strategy=strategy)
    settings = {"num_participants": 3, "quorum_deadline": 30.0} | settings
    return FederatedWorkflow(hooks, WorkflowSettings(**settings))(grid, legacy)


def in_round(server_round: int, fault: Fault) -> Fault:
    """Let a fault strike in one round only."""

    def limited(message: Message, reply: Callable[[], Message]) -> Message | None:
        if message.metadata.group_id == str(server_round):
            return fault(message, reply)
        return reply()

    return limited


def not_a_number(message: Message, reply: Callable[[], Message]) -> Message:
    answer = reply()
    if message.metadata.message_type == "train":
        for array in answer.content.array_records["fitres.parameters"].values():
            array.data = array.data[:-4] + np.float32(np.nan).tobytes()
    return answer


def error(message: Message, reply: Callable[[], Message]) -> Message:
    return Message(Error(3, "out of memory"), reply_to=message)


def silence(message: Message, reply: Callable[[], Message]) -> None:
    return None


def test_all_rounds_are_run_and_shown_to_every_hook():
    first, second = Recorder(), Recorder()

    reason = run(grid_of(3), [first, second])

    assert reason == "all 3 rounds are done"
    assert first.rounds == second.rounds == [0, 1, 2, 3]
    assert first.weights == second.weights == [0.0, 1.0, 2.0, 3.0]
    assert [report.aggregated for report in first.reports] == [False, True, True, True]


@pytest.mark.parametrize("together", [False, True])
def test_a_privacy_budget_that_is_spent_ends_the_run_with_all_before_evaluated(together):
    class Spent(DeltaFedAvg):
        def configure_fit(self, server_round: int, *arguments: Any, **more: Any) -> Any:
            if server_round == 3:
                raise BudgetSpent("nothing is left")
            return super().configure_fit(server_round, *arguments, **more)

    recorder = Recorder()
    strategy = Spent(initial_parameters=ndarrays_to_parameters([np.zeros(1, np.float32)]))

    reason = run(
        grid_of(3), [recorder], rounds=5, strategy=strategy, evaluate_with_training=together
    )

    assert reason == "nothing is left"
    assert recorder.rounds == [0, 1, 2]
    last = recorder.reports[-1].federated
    assert last is not None
    assert last.loss == 2.0


def test_participants_evaluate_the_new_weights():
    recorder = Recorder()

    run(grid_of(3), [recorder])

    scores = [report.federated for report in recorder.reports]
    assert scores[0] is None
    assert [score.loss for score in scores if score is not None] == [1.0, 2.0, 3.0]


def test_the_server_evaluates_the_initial_and_all_new_weights():
    recorder = Recorder()
    strategy = DeltaFedAvg(
        initial_parameters=ndarrays_to_parameters([np.zeros(1, np.float32)]),
        evaluate_fn=lambda server_round, weights, config: (
            float(weights[0][0]) + 10 * server_round,
            {"accuracy": 0.25, "num-examples": 7},
        ),
    )

    run(grid_of(3), [recorder], strategy=strategy)

    central = [report.central for report in recorder.reports]
    assert [c.loss for c in central if c is not None] == [0.0, 11.0, 22.0, 33.0]
    assert all(c is not None and (c.accuracy, c.num_examples) == (0.25, 7) for c in central)


@pytest.mark.parametrize("last", [1, 2])
def test_a_hook_ends_the_run_with_its_reason(last):
    stopper = Recorder(lambda server_round: "enough" if server_round == last else None)
    after = Recorder(lambda server_round: "too" if server_round == last else None)

    reason = run(grid_of(3), [stopper, after], rounds=9)

    assert reason == "enough"
    assert after.rounds == list(range(last + 1))  # those behind it see the last round


def test_a_hook_that_is_content_with_the_initial_model_ends_the_run_before_round_1():
    grid = grid_of(3, dict.fromkeys(range(3), lambda m, r: pytest.fail("was asked to train")))
    stopper = Recorder(lambda server_round: "good as it is")

    assert run(grid, [stopper]) == "good as it is"
    assert stopper.rounds == [0]


def test_the_last_rounds_reason_is_told():
    stopper = Recorder(lambda server_round: "converged" if server_round == 2 else None)

    assert run(grid_of(3), [stopper], rounds=2) == "converged"


def test_a_hooks_error_is_not_swallowed():
    def fail(server_round: int) -> None:
        raise RuntimeError("the hook is broken")

    with pytest.raises(RuntimeError, match="the hook is broken"):
        run(grid_of(3), [Recorder(fail)])


@pytest.mark.parametrize("fault", [not_a_number, error, silence])
def test_a_round_without_a_valid_update_leaves_the_weights_and_the_run_goes_on(fault):
    recorder = Recorder()
    faults = dict.fromkeys(range(3), in_round(2, fault))

    reason = run(grid_of(3, faults), [recorder], rounds=4, round_deadline=0.3)

    assert reason == "all 4 rounds are done"
    assert recorder.weights == [0.0, 1.0, 1.0, 2.0, 3.0]
    assert [r.aggregated for r in recorder.reports] == [False, True, False, True, True]
    assert sorted(recorder.reports[2].failures) == ["0", "1", "2"]


def test_one_that_fails_is_named_and_the_others_go_on():
    recorder = Recorder()

    run(grid_of(3, {1: error, 2: in_round(1, not_a_number)}), [recorder], rounds=2)

    _, first, second = recorder.reports
    assert sorted(first.failures) == ["1", "2"]
    assert first.failures["1"] == "out of memory"
    assert "not finite" in first.failures["2"]
    assert second.failures == {"1": "out of memory"}
    assert recorder.weights == [0.0, 1.0, 2.0]


def test_a_node_that_goes_between_rounds_is_not_asked_any_more():
    grid = grid_of(3)
    recorder = Recorder(lambda r: grid.disconnect(1) if r == 1 else None)

    reason = run(grid, [recorder])

    assert reason == "all 3 rounds are done"
    assert [len(report.participants) for report in recorder.reports] == [0, 3, 2, 2]
    assert [report.failures for report in recorder.reports] == [{}, {}, {}, {}]


def test_a_node_that_comes_back_takes_part_again():
    grid = grid_of(3)

    def go_and_come(server_round: int) -> None:
        if server_round == 1:
            grid.disconnect(1)
        if server_round == 2:
            grid.connect(1, {}, 3)

    recorder = Recorder(go_and_come)

    run(grid, [recorder])

    assert [len(report.participants) for report in recorder.reports] == [0, 3, 2, 3]


def test_too_few_participants_end_the_run_before_round_1():
    recorder = Recorder()

    with pytest.raises(QuorumError, match="2 of the 3 participants needed"):
        run(grid_of(2), [recorder], quorum_deadline=0.2)
    assert recorder.rounds == [0]


def test_too_few_participants_end_the_run_between_rounds():
    grid = grid_of(3)

    def all_go(server_round: int) -> None:
        if server_round == 1:
            for partition_id in range(3):
                grid.disconnect(partition_id)

    recorder = Recorder(all_go)

    with pytest.raises(QuorumError, match="0 of the 1 participants needed"):
        run(grid, [recorder], quorum_deadline=0.2)
    assert recorder.rounds == [0, 1]


def test_a_strategy_without_initial_parameters_is_refused():
    with pytest.raises(ValueError, match="initial_parameters"):
        run(grid_of(3), [], strategy=DeltaFedAvg())


def test_flowers_own_strategy_runs_unchanged():
    recorder = Recorder()
    start = ndarrays_to_parameters([np.zeros(1, np.float32)])

    reason = run(grid_of(3), [recorder], strategy=FedAvg(initial_parameters=start))

    assert reason == "all 3 rounds are done"
    assert recorder.weights == pytest.approx([0.0, 1.0, 2.0, 3.0], rel=1e-6)


def test_bytes_and_seconds_are_counted():
    recorder = Recorder()

    run(grid_of(3), [recorder], rounds=1)

    one_model = len(ndarrays_to_parameters([np.zeros(1, np.float32)]).tensors[0])
    report = recorder.reports[1]
    assert report.bytes_up == 3 * one_model
    assert report.bytes_down == 6 * one_model  # for training and for evaluation
    assert report.seconds == report.fit_seconds + report.evaluate_seconds > 0
