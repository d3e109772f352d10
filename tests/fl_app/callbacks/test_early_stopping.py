from dataclasses import replace

import numpy as np
import pytest

from fl_app.callbacks.best_model import BestModel, Objective
from fl_app.callbacks.early_stopping import (
    FailedRounds,
    FailedRoundsError,
    NoImprovement,
    SmallUpdate,
    StopSettings,
    TargetReached,
    TimeBudget,
    replay,
    stop_conditions,
    why_unchanged,
)
from fl_app.core import metrics
from fl_app.results.records import ParticipantReport, RoundReport, Score
from strategies.core.client_update import Arrays

WEIGHTS: Arrays = []
ACCURACY = Objective("central", "accuracy", metrics.ACCURACY)
LOSS = Objective("central", "loss", metrics.LOSS_METRIC)
ALL_OFF = StopSettings(
    objective=ACCURACY,
    targets=(),
    patience=0,
    min_improvement=0,
    update_tolerance=0,
    time_budget=0,
    max_failed_rounds=3,
)


def report(server_round, accuracy=None, loss=1.0, aggregated=True, relative_update=0.1):
    score = None if accuracy is None else Score(loss, {"accuracy": accuracy}, 100)
    return RoundReport(
        server_round, aggregated=aggregated, relative_update=relative_update, central=score
    )


def rounds_until_stop(condition, accuracies):
    for server_round, accuracy in enumerate(accuracies):
        if reason := condition.after_round(report(server_round, accuracy), WEIGHTS):
            return server_round, reason
    return None, None


def test_a_target_reached_in_round_4_ends_the_run_in_round_4():
    stopped, reason = rounds_until_stop(
        TargetReached(ACCURACY, 0.9), [0.1, 0.5, 0.8, 0.89, 0.9, 0.99]
    )
    assert stopped == 4
    assert reason == "central accuracy 0.9000 reached the target of 0.9"


def test_a_target_loss_is_reached_from_above():
    condition = TargetReached(LOSS, 0.5)
    assert condition.after_round(report(1, 0.5, loss=0.51), WEIGHTS) is None
    assert condition.after_round(report(2, 0.5, loss=0.5), WEIGHTS) is not None


def test_a_loss_that_is_not_a_number_reaches_no_target():
    condition = TargetReached(LOSS, 0.5)
    assert condition.after_round(report(1, 0.5, loss=float("nan")), WEIGHTS) is None


def test_patience_counts_rounds_since_the_best_one():
    stopped, reason = rounds_until_stop(
        NoImprovement(ACCURACY, patience=2), [0.1, 0.5, 0.4, 0.6, 0.6, 0.59, 0.7]
    )
    assert stopped == 5
    assert "for 2 rounds, since round 3" in reason


def test_patience_wants_more_than_the_minimum():
    condition = NoImprovement(ACCURACY, patience=2, min_improvement=0.1)
    stopped, _ = rounds_until_stop(condition, [0.5, 0.55, 0.59, 0.9])
    assert stopped == 2


def test_an_unmeasured_round_is_no_improvement():
    stopped, _ = rounds_until_stop(NoImprovement(ACCURACY, patience=2), [0.5, None, None])
    assert stopped == 2


def test_a_small_update_ends_the_run_but_a_failed_round_does_not():
    condition = SmallUpdate(1e-3)
    assert condition.after_round(report(1, relative_update=2e-3), WEIGHTS) is None
    failed = report(2, aggregated=False, relative_update=0.0)
    assert condition.after_round(failed, WEIGHTS) is None
    assert condition.after_round(report(3, relative_update=1e-3), WEIGHTS) is not None


def test_the_time_budget_includes_earlier_parts():
    spent = 9.0
    condition = TimeBudget(10.0, lambda: spent)
    assert condition.after_round(report(1), WEIGHTS) is None
    spent = 10.0
    assert condition.after_round(report(2), WEIGHTS) == "the time budget of 10 s is used up"


def test_failed_rounds_in_a_row_end_the_run_with_the_failures_by_name():
    condition = FailedRounds(2)
    failed = replace(
        report(1, aggregated=False), participants=(ParticipantReport("7", failure="no reply"),)
    )
    assert condition.after_round(report(0, aggregated=False), WEIGHTS) is None
    assert condition.after_round(failed, WEIGHTS) is None
    assert condition.after_round(report(2), WEIGHTS) is None  # one that works starts the count anew
    assert condition.after_round(failed, WEIGHTS) is None
    with pytest.raises(FailedRoundsError, match=r"2 rounds in a row .* 7: no reply"):
        condition.after_round(failed, WEIGHTS)


def test_a_failed_round_says_who_was_asked_who_replied_and_why_it_changed_nothing():
    people = (
        ParticipantReport("0", num_examples=5, bytes_up=8),
        ParticipantReport("1", num_examples=5, bytes_up=8, failure="it is not finite"),
        ParticipantReport("2", failure="no reply"),
        ParticipantReport("3", failure="no reply"),
    )
    refused = replace(report(1, aggregated=False), participants=people, unchanged="it overflows")

    assert why_unchanged(refused) == (
        "asked 4, replied 2, refused 1; it overflows; 1: it is not finite; 2, 3: no reply"
    )
    with pytest.raises(FailedRoundsError, match="In the last one: asked 4, replied 2"):
        FailedRounds(1).after_round(refused, WEIGHTS)
    crowd = tuple(replace(people[2], participant=str(n)) for n in range(12))
    assert why_unchanged(replace(refused, participants=crowd)).endswith(
        "; 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 2 more: no reply"
    )
    apart = tuple(replace(one, failure=f"reason {one.participant}") for one in crowd)
    told = why_unchanged(replace(refused, participants=apart))
    assert told.endswith("9: reason 9; and 2 more")
    nobody = replace(report(1, aggregated=False), unchanged="0 valid updates, 1 needed")
    assert why_unchanged(nobody) == "nobody was asked to train, too few are connected"


def test_conditions_are_off_by_default_but_for_failed_rounds():
    conditions = stop_conditions(ALL_OFF, lambda: 1e9)
    assert [type(condition) for condition in conditions] == [FailedRounds]


def test_every_condition_can_be_turned_on_at_once():
    settings = replace(
        ALL_OFF,
        targets=((ACCURACY, 0.9), (LOSS, 0.1)),
        patience=3,
        update_tolerance=1,
        time_budget=1,
    )
    names = [type(condition).__name__ for condition in stop_conditions(settings, lambda: 0.0)]
    assert names == [
        *("FailedRounds", "TargetReached", "TargetReached"),
        *("NoImprovement", "SmallUpdate", "TimeBudget"),
    ]


def test_the_best_model_is_that_of_the_best_round():
    kept: list[Arrays] = []
    best = BestModel(LOSS, kept.append)
    weights = [[np.array(number)] for number in range(4)]
    for number, loss in enumerate([1.0, 0.5, 0.7, 0.5]):
        best.after_round(report(number, 0.5, loss=loss), weights[number])
    assert kept == [weights[0], weights[1]]
    assert (best.best, best.best_round) == (0.5, 1)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_replayed_conditions_stand_as_they_did(cut):
    accuracies = [0.1, 0.5, 0.4, 0.6, 0.6, 0.59, 0.58]
    reports = [report(number, accuracy) for number, accuracy in enumerate(accuracies)]
    whole = NoImprovement(ACCURACY, patience=3)
    expected = [whole.after_round(r, WEIGHTS) for r in reports]

    resumed = NoImprovement(ACCURACY, patience=3)
    best = BestModel(ACCURACY, lambda weights: pytest.fail("nothing is saved in a replay"))
    assert replay(reports[:cut], [resumed], best) == expected[cut - 1]
    assert [resumed.after_round(r, WEIGHTS) for r in reports[cut:]] == expected[cut:]
    assert best.best == max(accuracies[:cut])


def test_replay_forgives_failed_rounds():
    condition = FailedRounds(2)
    failed = report(1, aggregated=False)
    assert replay([failed, failed, failed], [condition], BestModel(ACCURACY, print)) is None
    assert condition.after_round(failed, WEIGHTS) is None


@pytest.mark.parametrize(
    ("monitor", "expected"), [("central", 0.9), ("federated", 0.8), ("auto", 0.9)]
)
def test_the_objective_looks_at_one_evaluation(monitor, expected):
    both = RoundReport(
        1, central=Score(1.0, {"accuracy": 0.9}), federated=Score(1.0, {"accuracy": 0.8})
    )
    assert Objective(monitor, "accuracy", metrics.ACCURACY).value(both) == expected


def test_auto_falls_back_to_the_participants_evaluation():
    federated = RoundReport(1, federated=Score(1.0, {"accuracy": 0.8}))
    assert Objective("auto", "accuracy", metrics.ACCURACY).value(federated) == 0.8
    assert Objective("central", "accuracy", metrics.ACCURACY).value(federated) is None
