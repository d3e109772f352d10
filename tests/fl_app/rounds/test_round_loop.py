from typing import Any

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters
from flwr.server.strategy import FedAvg

from strategies import DeltaFedAvg
from strategies.privacy.accountant import BudgetSpent
from tests.support.toy_rounds import Recorder, grid_of, run


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
