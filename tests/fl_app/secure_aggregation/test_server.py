"""Rounds of secure aggregation with toy participants, and all that can go wrong in them."""

from dataclasses import replace
from typing import Any

import pytest
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS

from fl_app.secure_aggregation.fixed_point import secure_range
from strategies import DeltaFedAvg
from strategies.aggregation.robust import coordinate_median
from tests.support.toy_secure_rounds import (
    SETTINGS,
    STAGES,
    W_T,
    error,
    expected,
    failures,
    fit_of,
    in_stage,
    silence,
    weights,
)


def test_the_mean_under_masks_is_the_weighted_mean(phases_of):
    fit = fit_of(phases_of(4))

    bound = secure_range(4.0, [1, 2, 3, 4]).error_bound([1, 2, 3, 4])
    assert weights(fit) == pytest.approx(expected([0, 1, 2, 3]), rel=1e-6, abs=bound)
    assert failures(fit) == {}
    assert fit.train_loss == pytest.approx((0 * 1 + 1 * 2 + 2 * 3 + 3 * 4) / 10)
    assert [p.num_examples for p in fit.participants] == [1, 2, 3, 4]


def test_keys_shares_and_masked_updates_are_counted(phases_of):
    for report in fit_of(phases_of(4)).participants:
        # Up at least two public keys of 215 bytes, three shares in cipher, and (1 + 3 + 1) * 4
        # bytes of masked values; down the keys of all and the shares of three.
        assert 2 * 215 + 3 * 500 + 20 < report.bytes_up < 10_000
        assert 8 * 215 + 3 * 500 < report.bytes_down < 10_000


def test_the_bits_do_not_depend_on_the_order_of_arrival_nor_on_the_masks(phases_of):
    first, second = (weights(fit_of(phases_of(5, order=order))) for order in (1, 2))
    assert first == second


def test_the_server_gets_no_delta(phases_of, monkeypatch):
    seen: list[Any] = []
    receive_sum = DeltaFedAvg.receive_sum

    def spy(self, server_round, results, mean):
        seen.extend(result.parameters.tensors for _, result in results)
        receive_sum(self, server_round, results, mean)

    monkeypatch.setattr(DeltaFedAvg, "receive_sum", spy)
    monkeypatch.setattr(DeltaFedAvg, "receive", lambda *_: pytest.fail("it was given an update"))
    fit = fit_of(phases_of(4))

    assert seen == [[]] * 4
    assert weights(fit) == pytest.approx(expected([0, 1, 2, 3]), rel=1e-6)


def test_a_sum_that_cannot_be_used_is_why_the_round_changed_nothing(phases_of):
    fit = fit_of(phases_of(4, aggregator=coordinate_median))

    assert fit.weights is None
    assert "has to see every update" in str(fit.unchanged)


@pytest.mark.parametrize("fault", [error, silence])
@pytest.mark.parametrize("stage", STAGES[:3])
def test_who_drops_out_in_a_stage_is_named_and_the_others_count(phases_of, stage, fault):
    # Only who is silent is waited for, and nobody else takes so long.
    limit = 3.0 if fault is silence else None
    settings = replace(SETTINGS, stage_deadline=limit)
    fit = fit_of(phases_of(5, {2: in_stage(stage, fault)}, settings, deadline=limit))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert list(failures(fit)) == ["2"]
    reason = "no memory" if fault is error else "no reply within the deadline of 3 s"
    assert reason in failures(fit)["2"]


@pytest.mark.parametrize("fault", [error, silence])
def test_who_drops_out_after_its_update_is_in_the_sum_counts(phases_of, fault, caplog):
    settings = replace(SETTINGS, stage_deadline=3.0 if fault is silence else None)
    fit = fit_of(phases_of(5, {2: in_stage("unmask", fault)}, settings))

    assert weights(fit) == pytest.approx(expected([0, 1, 2, 3, 4]), rel=1e-6)
    assert failures(fit) == {}
    assert "participant 2 dropped out of secure aggregation" in caplog.text
    assert "0 failures" not in caplog.text  # as Flower's workflow has it


def test_dropouts_in_every_stage_of_one_round(phases_of):
    faults = {i: in_stage(stage, error) for i, stage in enumerate(STAGES)}

    fit = fit_of(phases_of(10, faults))

    assert weights(fit) == pytest.approx(expected([3, 4, 5, 6, 7, 8, 9]), rel=1e-6)
    assert list(failures(fit)) == ["0", "1", "2"]


@pytest.mark.parametrize("shares", [3, 5])
@pytest.mark.parametrize("stage", STAGES)
def test_where_keys_are_shared_among_some_a_dropout_is_made_up_for(phases_of, stage, shares):
    settings = replace(SETTINGS, shares=shares)

    fit = fit_of(phases_of(7, {6: in_stage(stage, error)}, settings))

    counted = [0, 1, 2, 3, 4, 5] + ([6] if stage == "unmask" else [])
    assert weights(fit) == pytest.approx(expected(counted), rel=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_too_many_dropouts_change_nothing_and_say_so(phases_of, stage, caplog):
    # 3 of 5 are needed to unmask: ceil(0.6 * 5)
    faults = {i: in_stage(stage, error) for i in (0, 2, 4)}
    fit = fit_of(phases_of(5, faults))

    assert fit.weights is None
    assert list(failures(fit)) == ["0", "1", "2", "3", "4"]
    assert "no memory" in failures(fit)["0"]
    assert "secure aggregation gave no sum" in failures(fit)["1"]
    assert "Traceback" not in caplog.text


def test_where_nobody_answers_nothing_changes(phases_of):
    assert fit_of(phases_of(3, dict.fromkeys(range(3), error))).weights is None


def test_who_failed_in_a_round_can_take_part_in_the_next(phases_of):
    for stage in STAGES:
        faults = {1: in_stage(stage, error)}
        phases = phases_of(4, faults)
        fit_of(phases)
        phases._grid.faults.clear()
        fit = phases.aggregate(phases.train(2, W_T))
        assert weights(fit) == pytest.approx(expected([0, 1, 2, 3]), rel=1e-6)


def test_two_are_too_few(phases_of):
    fit = fit_of(phases_of(2))

    assert fit.weights is None
    assert "2 participants can take part, 3 must" in failures(fit)["0"]


def test_a_sum_of_fewer_than_min_updates_is_not_unmasked(phases_of):
    stages = []

    def note(message, reply):
        stages.append(message.content.config_records[RECORD_KEY_CONFIGS]["stage"])
        return reply()

    settings = replace(SETTINGS, min_updates=5)
    fit = fit_of(phases_of(5, {0: in_stage("setup", error), 1: note}, settings))

    assert fit.weights is None
    assert "4 updates came, 5 are needed (min-fit-clients)" in failures(fit)["1"]
    assert stages == ["setup", "share_keys", "collect_masked_vectors"]


def test_a_node_keeps_no_secret_after_the_round(phases_of):
    phases = phases_of(3)
    fit_of(phases)
    assert all(not context.state.config_records for context in phases._grid.contexts.values())
