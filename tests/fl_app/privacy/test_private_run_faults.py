"""Private runs in which something fails, and those that are resumed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.app import Message

from fl_app.core.atomic_io import write_atomically
from fl_app.core.errors import ResumeError
from fl_app.experiment.run import RunFailedError
from fl_app.privacy.run_privacy import LedgerError
from tests.fl_app.privacy.private_run import Z, lost, releases, rows, spent, watching
from tests.support.local_run import run_app, run_on, summary_of


def test_who_did_not_reply_is_not_charged_and_central_noise_is_as_planned(central):
    directory = run_app(central, faults={1: lost})

    assert spent(directory) == dict.fromkeys("02", 3 * Z ** (-2))
    assert summary_of(directory)["privacy"]["epsilon"] == pytest.approx(releases(3))


def test_who_replied_is_charged_for_the_shares_of_noise_that_were_missing(distributed):
    directory = run_app(distributed, faults={1: lost})

    # Two of three shares: each round costs 3/2 of what it would.
    assert spent(directory) == pytest.approx(dict.fromkeys("02", 3 * Z ** (-2) * 1.5))


def test_a_sum_with_too_few_shares_is_kept_back_and_the_run_ends(distributed):
    config = distributed | {"target-epsilon": releases(1.2), "num-server-rounds": 5}
    with pytest.raises(RunFailedError, match="no round changed the model"):
        run_app(config, faults={1: lost})
    (directory,) = Path(config["output-dir"]).iterdir()

    found = summary_of(directory)
    _, first = rows(directory)
    assert not first["aggregated"]
    assert first["epsilon"] == pytest.approx(releases(1.5))  # the server has seen it
    assert "is spent, and the next round would make it" in found["reason"]


def test_a_refused_update_is_not_in_the_sum_nor_charged(central):
    def damaged(message: Message, reply: Callable[[], Message]) -> Message:
        answer = reply()
        if message.metadata.message_type == "train":
            for array in answer.content.array_records["fitres.parameters"].values():
                array.data = array.data[:-4]
        return answer

    directory = run_app(central, faults={2: damaged})

    assert spent(directory).keys() == {"0", "1"}


def test_a_ledger_that_cannot_be_written_ends_the_run_with_nothing_released(central, monkeypatch):
    writes = iter(range(100))

    def failing(path: Path, content: bytes) -> None:
        if next(writes) == 2:  # the first is empty, the second of round 1
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("fl_app.privacy.run_privacy.write_atomically", failing)

    with pytest.raises(LedgerError, match="No space left on device"):
        run_app(central)

    (directory,) = Path(central["output-dir"]).iterdir()
    found = summary_of(directory)
    assert found["rounds"] == 1
    assert found["privacy"]["epsilon"] == pytest.approx(releases(1))


# Resume


def test_a_run_killed_between_ledger_and_checkpoint_spends_the_round_twice(central, tmp_path):
    directory = run_app(central | {"num-server-rounds": 1})
    at_1 = tmp_path / "at-1"
    shutil.copytree(directory, at_1)
    run_app(central | {"num-server-rounds": 2, "resume": str(directory)})
    # All as after round 1, but for the ledger: killed before anything else of round 2 was saved.
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        shutil.copy(at_1 / name, directory / name)

    run_app(central | {"num-server-rounds": 2, "resume": str(directory)})

    assert [row["epsilon"] for row in rows(directory)] == [
        None,
        pytest.approx(releases(1)),
        pytest.approx(releases(3)),  # rounds 1, 2 and 2 again
    ]
    assert spent(directory) == dict.fromkeys("012", 3 * Z ** (-2))


def test_a_resumed_run_goes_on_with_what_was_spent(central):
    directory = run_app(central | {"num-server-rounds": 2})

    run_app(central | {"resume": str(directory)})

    assert summary_of(directory)["privacy"]["epsilon"] == pytest.approx(releases(3))


@pytest.mark.parametrize("fate", ["missing", "older", "damaged"])
def test_a_run_whose_ledger_is_lost_cannot_be_resumed(central, fate):
    directory = run_app(central | {"num-server-rounds": 1})
    ledger = directory / "privacy.json"
    older = ledger.read_text()
    if fate == "missing":
        ledger.unlink()
    elif fate == "damaged":
        ledger.write_text(older[:20])
    else:
        run_app(central | {"num-server-rounds": 2, "resume": str(directory)})
        ledger.write_text(older)

    with pytest.raises(ResumeError, match=r"privacy\.json"):
        run_app(central | {"resume": str(directory)})


def test_budget_and_noise_cannot_be_changed_on_resume(central):
    directory = run_app(central | {"num-server-rounds": 1, "target-epsilon": 50.0})

    with pytest.raises(ResumeError, match=r"target-epsilon was 50\.0, is 60\.0"):
        run_app(central | {"target-epsilon": 60.0, "resume": str(directory)})


# Adaptive clipping


def test_the_clip_norm_follows_is_sent_and_survives_a_resume(central):
    private = central | {"adaptive-clip-quantile": 0.5, "clip-norm": 1e-3, "noise-multiplier": 0.1}
    directory = run_app(private)
    norms = [row["clip_norm"] for row in rows(directory)]

    # All deltas are longer, so it grows by about exp(0.2 * 0.5) = 1.1 in each round.
    assert norms[:2] == [None, 1e-3]
    assert norms[1] < norms[2] < norms[3] < summary_of(directory)["privacy"]["clip_norm"]

    resumed = private | {"num-server-rounds": 4, "resume": str(directory)}
    grid, replies = watching(resumed)
    last = summary_of(directory)["privacy"]["clip_norm"]
    run_on(grid, resumed)
    assert rows(directory)[-1]["clip_norm"] == last
    assert [reply.norm for reply in replies] == pytest.approx([last] * 3, rel=1e-6)
