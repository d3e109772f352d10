"""Participants that fail, go or are too few."""

import pytest

from fl_app.messaging.client_registry import QuorumError
from tests.support.toy_rounds import Recorder, error, grid_of, in_round, not_a_number, run, silence


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
