"""What leaves a participant of a private run."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from torch import nn

from fl_app.tasks.task import Task
from fl_app.training.local.local_training import LocalUpdate, local_update
from tests.fl_app.privacy.private_run import Z, rows, watching
from tests.support.local_run import run_app, run_on, summary_of


@pytest.mark.parametrize("mode", ["central", "distributed"])
def test_a_reply_to_training_tells_nothing_but_the_protected_delta(central, mode):
    private = central | {"privacy": mode}
    grid, replies = watching(private)
    directory = run_on(grid, private)

    for reply in replies:
        assert reply.metrics.keys() == {"update", "participant"}
        assert reply.num_examples == {"num_examples": 1}
    assert len(replies) == 9
    for row in rows(directory, "participant"):
        assert row["num_examples"] == 1
        assert row["train_loss"] is row["update_norm"] is None
        assert row["train_metrics"] == {}
    assert all(row["train_loss"] is None for row in rows(directory))


def test_clipping_alone_reports_as_ever_and_the_norm_before_clipping(config):
    clipped = config | {"clip-norm": 1e-3}
    grid, replies = watching(clipped)
    directory = run_on(grid, clipped)

    assert all(0.999e-3 < reply.norm <= 1e-3 for reply in replies)
    for row in rows(directory, "participant"):
        assert row["num_examples"] == 479
        assert row["update_norm"] > 1e-3


def test_clip_norm_off_or_large_changes_no_bit(config):
    digests = {
        summary_of(run_app(config | {"clip-norm": clip_norm}))["sha256"]["weights"]
        for clip_norm in (0.0, 1e6)
    }

    assert len(digests) == 1


def test_distributed_noise_is_in_what_is_sent(distributed):
    grid, replies = watching(distributed | {"num-server-rounds": 1})
    run_on(grid, distributed | {"num-server-rounds": 1})

    share = Z * 0.1 / np.sqrt(3)  # of each of 7,850 values; the delta's norm is 0.1 at most
    for reply in replies:
        assert reply.norm == pytest.approx(share * np.sqrt(7850), rel=0.1)


def test_training_that_diverged_is_hidden_in_zeros(central, monkeypatch, flower_log):
    def diverging(task: Task, model: nn.Module, weights: Any, *more: Any) -> LocalUpdate:
        update = local_update(task, model, weights, *more)
        update.delta[0][...] = np.nan
        return update

    monkeypatch.setattr("fl_app.training.update_pipeline.local_update", diverging)
    grid, replies = watching(central)

    directory = run_on(grid, central)

    assert [reply.norm for reply in replies] == [0.0] * 9
    assert summary_of(directory)["failures"] == 0
    assert "a delta of zeros is sent instead" in flower_log.text


def test_a_server_that_asks_for_no_clipping_is_not_obeyed_where_it_is_not_trusted(distributed):
    def ask_for_no_clipping(message: Message) -> None:
        message.content.config_records["fitins.config"]["clip-norm"] = 0.0

    grid, replies = watching(distributed, ask_for_no_clipping)
    run_on(grid, distributed)

    assert min(reply.norm for reply in replies) > Z * 0.1 / np.sqrt(3) * np.sqrt(7850) * 0.9


def test_what_is_not_protected_is_told_at_the_start(central, flower_log):
    run_app(central | {"fraction-evaluate": 1.0, "num-server-rounds": 1})

    assert "what participants report of their evaluation is not protected" in flower_log.text
