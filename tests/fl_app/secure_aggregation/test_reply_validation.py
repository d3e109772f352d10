"""Replies of secure aggregation that are not what was agreed on."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from flwr.app import Message
from flwr.common import ndarray_to_bytes

from tests.support.toy_secure_rounds import (
    SETTINGS,
    STAGES,
    Toy,
    answering,
    app_of,
    expected,
    failures,
    fit_of,
    in_stage,
    weights,
)

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

    assert fit.weights is None
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

    assert fit.weights is None
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

    assert fit.weights is None
    assert "secure aggregation gave no sum" in failures(fit)["0"]


class Changed(Toy):
    """One whose delta or count is not what was agreed on."""

    def __init__(self, index: int, shift: float = 0.0, more: int = 0) -> None:
        super().__init__(index)
        self.shift, self.more = shift, more

    def fit(self, parameters, config):
        arrays, count, metrics = super().fit(parameters, config)
        if self.index != 2:
            return arrays, count, metrics
        return [arrays[0] + np.float32(self.shift), arrays[1]], count + self.more, metrics


@pytest.mark.parametrize("more", [1, 100])
def test_more_examples_than_announced_are_refused(phases_of, more):
    # One more is less than the most of all: the server finds out. A hundred: the participant.
    fit = fit_of(phases_of(5, app=app_of(partial(Changed, more=more))))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert "announced" in failures(fit)["2"]


@pytest.mark.parametrize("shift", [4.1, float("nan"), float("inf")])
def test_what_would_saturate_is_refused(phases_of, shift):
    fit = fit_of(phases_of(5, app=app_of(partial(Changed, shift=shift))))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert "it would be cut off in silence" in failures(fit)["2"]


def test_a_mean_longer_than_clipped_deltas_can_have_is_refused(phases_of):
    # Each value is in range, so that the masks work, but the deltas are not clipped: |(1, -1, 1)|
    # is not the reason, participants 3 and 4 are, with norms around 1.5.
    settings = replace(SETTINGS, clip_norm=1.0)

    fit = fit_of(phases_of(5, settings=settings))

    assert fit.weights is None
    assert "somebody did not clip" in failures(fit)["0"]


def test_who_announces_nothing_cannot_take_part(phases_of):
    class Silent(Toy):
        def get_properties(self, config):
            known = super().get_properties(config)
            return {"participant": known["participant"]} if self.index == 1 else known

    # Four are left and say so: who was to share with five would be refused else.
    fit = fit_of(phases_of(5, app=app_of(Silent)))

    assert weights(fit) == pytest.approx(expected([0, 2, 3, 4]), rel=1e-6)
    assert "announced None" in failures(fit)["1"]


@pytest.mark.parametrize("mark", [{}, {"update": "weights"}])
def test_under_masks_who_does_not_say_that_it_sends_a_delta_drops_out_by_name(phases_of, mark):
    class Stock(Toy):
        def fit(self, parameters, config):
            delta, num_examples, metrics = super().fit(parameters, config)
            marks = mark if self.index == 2 else {"update": metrics["update"]}
            return delta, num_examples, marks

    fit = fit_of(phases_of(5, app=app_of(Stock)))

    assert weights(fit) == pytest.approx(expected([0, 1, 3, 4]), rel=1e-6)
    assert "does not say that it holds a delta" in failures(fit)["2"]
