"""Rounds of secure aggregation with toy participants, and all that can go wrong in them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import ndarray_to_bytes, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.server.client_manager import SimpleClientManager

from fl_app.messaging.client_mods import give_up_at_deadline, report_failures
from fl_app.messaging.client_registry import ClientRegistry
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_results import AggregateResult
from fl_app.secure_aggregation.client_mod import secure_aggregation
from fl_app.secure_aggregation.fixed_point import secure_range
from fl_app.secure_aggregation.settings import SecureSettings
from strategies import DeltaFedAvg
from tests.support.local_grid import Fault, InProcessGrid

W_T = ndarrays_to_parameters([np.array([[10.0, 20.0]], np.float32), np.array(5.0, np.float32)])
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
        metrics = {"update": "delta", "train-loss": float(self.index), "train-accuracy": 0.5}
        return [moved, np.array(1.0, np.float32)], self.index + 1, metrics


def toy_client(context: Context) -> Client:
    return Toy(int(context.node_config["partition-id"])).to_client()


APP = ClientApp(toy_client, mods=[report_failures, give_up_at_deadline, secure_aggregation])


@pytest.fixture
def phases_of(run_config):
    def build(
        num_nodes: int,
        faults: dict[int, Fault] | None = None,
        settings: SecureSettings = SETTINGS,
        app: ClientApp = APP,
        order: int = 0,
        deadline: float | None = None,
        **strategy: Any,
    ) -> Phases:
        config = run_config | {
            "num-participants": num_nodes,
            "secure-aggregation": True,
            "clip-norm": settings.clip_norm,
            "secure-shares": settings.shares,
            "secure-threshold": settings.threshold,
        }
        grid = InProcessGrid(app, config, num_nodes, order, faults)
        manager = SimpleClientManager()
        ClientRegistry(grid, manager).refresh()
        return Phases(grid, manager, DeltaFedAvg(**strategy), deadline, settings)

    return build


def fit_of(phases: Phases) -> AggregateResult:
    return phases.aggregate(phases.train(1, W_T))


def weights(fit: AggregateResult) -> list[float]:
    assert fit.parameters is not None
    matrix, scalar = parameters_to_ndarrays(fit.parameters)
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
    aggregate_fit = DeltaFedAvg.aggregate_fit

    def spy(self, server_round, results, failures):
        seen.extend(parameters_to_ndarrays(result.parameters) for _, result in results)
        return aggregate_fit(self, server_round, results, failures)

    monkeypatch.setattr(DeltaFedAvg, "aggregate_fit", spy)
    fit_of(phases_of(4))

    assert len(seen) == 4
    for arrays in seen:
        assert arrays[0].tolist() == seen[0][0].tolist()


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

    assert fit.parameters is None
    assert list(failures(fit)) == ["0", "1", "2", "3", "4"]
    assert "no memory" in failures(fit)["0"]
    assert "secure aggregation gave no sum" in failures(fit)["1"]
    assert "Traceback" not in caplog.text


def test_where_nobody_answers_nothing_changes(phases_of):
    assert fit_of(phases_of(3, dict.fromkeys(range(3), error))).parameters is None


def test_who_failed_in_a_round_can_take_part_in_the_next(phases_of):
    for stage in STAGES:
        faults = {1: in_stage(stage, error)}
        phases = phases_of(4, faults)
        fit_of(phases)
        phases._grid.faults.clear()
        fit = phases.aggregate(phases.train(2, W_T))
        assert weights(fit) == pytest.approx(expected([0, 1, 2, 3]), rel=1e-6)


GARBLED = [
    ("setup", {"pk1": b"no key"}, "cannot be used"),
    ("setup", {"pk1": 3}, "cannot be used"),
    ("setup", {"pk2": lambda key: key[:-40]}, "cannot be used"),
    ("share_keys", {"dsts": lambda ids: ids[:-1]}, "not one share for each"),
    ("share_keys", {"ctxts": lambda texts: texts[:-1]}, "not one share for each"),
    ("share_keys", {"ctxts": "text"}, "something else than bytes"),
    ("collect_masked_vectors", {"masked_params": []}, "form []"),
    ("collect_masked_vectors", {"masked_params": [b"", b""]}, "cannot be decoded"),
    (
        "collect_masked_vectors",
        {"masked_params": lambda a: [a[0], ndarray_to_bytes(np.zeros(3, np.uint32))]},
        "has the form",
    ),
    (
        "collect_masked_vectors",
        {"masked_params": lambda a: [a[0], ndarray_to_bytes(np.zeros(4, np.float32))]},
        "has the form",
    ),
]


@pytest.mark.parametrize(("stage", "changes", "reason"), GARBLED)
def test_who_answers_with_garbage_drops_out_by_name(phases_of, stage, changes, reason):
    fit = fit_of(phases_of(5, {1: in_stage(stage, answering(**changes))}))

    assert weights(fit) == pytest.approx(expected([0, 2, 3, 4]), rel=1e-6)
    assert reason in failures(fit)["1"]


def test_shares_that_nobody_can_decrypt_change_nothing(phases_of, caplog):
    def garbage(texts):
        return [text[:-8] + b"AAAAAAA=" for text in texts]

    fit = fit_of(phases_of(5, {3: in_stage("share_keys", answering(ctxts=garbage))}))

    assert fit.parameters is None
    assert "cannot be decrypted" in failures(fit)["0"]
    assert "Traceback" not in caplog.text


def no_content(message, reply):
    return Message(reply().content.__class__(), reply_to=message)


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_answer_is_a_dropout(phases_of, stage):
    fit = fit_of(phases_of(5, {1: in_stage(stage, no_content)}))
    counted = [0, 2, 3, 4] if stage != "unmask" else [0, 1, 2, 3, 4]
    assert weights(fit) == pytest.approx(expected(counted), rel=1e-6)


def random_values(arrays):
    values = np.random.default_rng(1).integers(0, 2**32, 4, np.uint32)
    return [arrays[0], ndarray_to_bytes(values)]


def other_weight(arrays):
    return [ndarray_to_bytes(np.array([12345], np.uint32)), arrays[1]]


@pytest.mark.parametrize("lie", [random_values, other_weight])
def test_a_lie_under_the_masks_spoils_the_round_and_never_the_model(phases_of, lie):
    fault = in_stage("collect_masked_vectors", answering(masked_params=lie))

    fit = fit_of(phases_of(5, {3: fault}))

    assert fit.parameters is None
    assert "somebody sent something wrong, and who cannot be known" in failures(fit)["0"]


@pytest.mark.parametrize(
    "lie",
    [
        lambda shares: [share[:4] + bytes(len(share) - 4) for share in shares],
        lambda shares: [bytes(reversed(share)) for share in shares],
        lambda shares: [share[:-16] for share in shares],
    ],
)
def test_wrong_shares_of_keys_change_nothing(phases_of, lie):
    fit = fit_of(phases_of(5, {3: in_stage("unmask", answering(shares=lie))}))

    assert fit.parameters is None
    assert "secure aggregation gave no sum" in failures(fit)["0"]


class Changed(Toy):
    """One whose delta or count is not what was agreed on."""

    shift: float = 0.0
    more: int = 0

    def fit(self, parameters, config):
        arrays, count, metrics = super().fit(parameters, config)
        if self.index != 2:
            return arrays, count, metrics
        return [arrays[0] + np.float32(self.shift), arrays[1]], count + self.more, metrics


def app_of(shift: float = 0.0, more: int = 0) -> ClientApp:
    def client(context: Context) -> Client:
        toy = Changed(int(context.node_config["partition-id"]))
        toy.shift, toy.more = shift, more
        return toy.to_client()

    return ClientApp(client, mods=[report_failures, give_up_at_deadline, secure_aggregation])


@pytest.mark.parametrize("more", [1, 100])
def test_more_examples_than_announced_are_refused(phases_of, more):
    # One more is less than the most of all: the server finds out. A hundred: the participant.
    fit = fit_of(phases_of(5, app=app_of(more=more)))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert "announced" in failures(fit)["2"]


@pytest.mark.parametrize("shift", [4.1, float("nan"), float("inf")])
def test_what_would_saturate_is_refused(phases_of, shift):
    fit = fit_of(phases_of(5, app=app_of(shift=shift)))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert "it would be cut off in silence" in failures(fit)["2"]


def test_a_mean_longer_than_clipped_deltas_can_have_is_refused(phases_of):
    # Each value is in range, so that the masks work, but the deltas are not clipped: |(1, -1, 1)|
    # is not the reason, participants 3 and 4 are, with norms around 1.5.
    settings = replace(SETTINGS, clip_norm=1.0)

    fit = fit_of(phases_of(5, settings=settings))

    assert fit.parameters is None
    assert "somebody did not clip" in failures(fit)["0"]


def test_who_announces_nothing_cannot_take_part(phases_of):
    class Silent(Toy):
        def get_properties(self, config):
            known = super().get_properties(config)
            return {"participant": known["participant"]} if self.index == 1 else known

    app = ClientApp(
        lambda context: Silent(int(context.node_config["partition-id"])).to_client(),
        mods=[report_failures, secure_aggregation],
    )
    # Four are left and say so: who was to share with five would be refused else.
    fit = fit_of(phases_of(5, app=app))

    assert weights(fit) == pytest.approx(expected([0, 2, 3, 4]), rel=1e-6)
    assert "announced None" in failures(fit)["1"]


def test_two_are_too_few(phases_of):
    fit = fit_of(phases_of(2))

    assert fit.parameters is None
    assert "2 participants can take part, 3 must" in failures(fit)["0"]


def test_a_sum_of_fewer_than_min_updates_is_not_unmasked(phases_of):
    stages = []

    def note(message, reply):
        stages.append(message.content.config_records[RECORD_KEY_CONFIGS]["stage"])
        return reply()

    settings = replace(SETTINGS, min_updates=5)
    fit = fit_of(phases_of(5, {0: in_stage("setup", error), 1: note}, settings))

    assert fit.parameters is None
    assert "4 updates came, 5 are needed (min-fit-clients)" in failures(fit)["1"]
    assert stages == ["setup", "share_keys", "collect_masked_vectors"]


def test_a_node_keeps_no_secret_after_the_round(phases_of):
    phases = phases_of(3)
    fit_of(phases)
    assert all(not context.state.config_records for context in phases._grid.contexts.values())
