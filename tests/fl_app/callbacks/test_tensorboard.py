import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fl_app.callbacks.tensorboard import TensorBoardLog, scalars
from fl_app.results.records import RoundReport, Score
from strategies.core.client_update import Arrays

NOTHING: Arrays = []


def events_of(path):
    accumulator = EventAccumulator(str(path))
    accumulator.Reload()
    return accumulator


def report(server_round, accuracy):
    return RoundReport(
        server_round, central=Score(1.0, {"accuracy": accuracy}, 10), train_loss=0.5, bytes_up=7
    )


def test_one_event_file_holds_history_and_hyperparameters(tmp_path):
    log = TensorBoardLog(
        tmp_path, {"learning-rate": 0.1, "model": "simple-cnn"}, ["accuracy", "loss"]
    )
    for number, accuracy in enumerate([0.25, 0.5]):
        log.after_round(report(number, accuracy), NOTHING)

    events = events_of(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert [(e.step, e.value) for e in events.Scalars("central/accuracy")] == [(0, 0.25), (1, 0.5)]
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


def test_a_resumed_run_supersedes_what_was_written_after_its_checkpoint(tmp_path):
    killed = TensorBoardLog(tmp_path, {}, ["accuracy"])
    for number in (0, 1, 2):
        killed.after_round(report(number, 0.25), NOTHING)
    time.sleep(1.1)  # event files are read in the order of their names, which begin with the second
    resumed = TensorBoardLog(tmp_path, {}, ["accuracy"], first_round=2)
    resumed.after_round(report(2, 0.75), NOTHING)

    values = {e.step: e.value for e in events_of(tmp_path).Scalars("central/accuracy")}
    assert values == {0: 0.25, 1: 0.25, 2: 0.75}


def test_what_cannot_be_written_is_reported_and_the_run_goes_on(tmp_path, caplog):
    file = tmp_path / "file"
    file.write_text("not a folder")
    log = TensorBoardLog(file, {}, ["accuracy"])
    assert log.after_round(report(1, 0.5), NOTHING) is None
    assert "the run goes on" in caplog.text


def test_what_was_not_measured_is_left_out():
    assert "central/accuracy" not in scalars(RoundReport(1))
    assert scalars(report(1, 0.5))["train/loss"] == 0.5
