import io
import signal

import pytest
from rich.console import Console

from scripts.launcher.run_log import Display, RunLog, wants_colour
from scripts.processes.signals import StopSignals

LINE = (
    "\x1b[92mINFO \x1b[0m: round 3/10 | central accuracy 97.10% loss 0.1 | 4.0 s | "
    "about 28 s left\n"
)
PLAIN = "round 3/10 | central accuracy 97.10% loss 0.1 | 4.0 s | about 28 s left\n"
WARNING = "\x1b[93mWARNING \x1b[0m:   participant 3 failed\n"
UNWANTED = "\x1b[92mINFO \x1b[0m:      Starting Flower Simulation\n"


@pytest.fixture(autouse=True)
def _no_wish_for_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_terminal_lines_are_passed_on_as_plain_text(capsys):
    with Display() as display:
        display.show(LINE)
        display.show(WARNING)
        display.show(UNWANTED)
        display.show("last line without a break")
    assert capsys.readouterr().out == (
        PLAIN + "WARNING: participant 3 failed\nlast line without a break\n"
    )


def test_with_a_line_of_flowers_the_empty_lines_behind_it_are_dropped_and_no_others(capsys):
    with Display() as display:
        for line in ("INFO :      one\n", "\n", "two\n", "ERROR :     Exit Code: 700\n", "\n"):
            display.show(line)
        display.show("An unhandled exception occurred when running the simulation.\n")
        for line in ("\n", "\n", "three\n", "\n", "four\n"):
            display.show(line)
    assert capsys.readouterr().out == "one\n\ntwo\nthree\n\nfour\n"


def test_force_color_colours_what_is_no_terminal_and_moves_no_cursor(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display() as display:
        display.show(LINE)
        display.show(WARNING)
    assert capsys.readouterr().out == PLAIN + "\x1b[33mWARNING\x1b[0m: participant 3 failed\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "colour"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": ""}, False),
    ],
)
def test_colours_are_for_terminals_unless_the_environment_says_otherwise(
    terminal, environment, colour
):
    assert wants_colour(terminal, environment) is colour


def test_on_a_terminal_the_next_round_the_score_and_the_time_left_stay_in_sight():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, soft_wrap=True)
    with Display(console) as display:
        display.show(LINE)
        assert display._progress is not None
        display._progress.refresh()
    written = screen.getvalue()
    assert "round 3/10 | central accuracy 97.10%" in written
    assert "round 4/10" in written
    assert "central accuracy 97.10% loss 0.1, about 28 s left" in written


def test_on_a_terminal_a_warning_is_yellow_and_unwanted_lines_are_dropped():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=160)
    with Display(console) as display:
        display.show(UNWANTED)
        display.show(WARNING)
    assert "\x1b[33mWARNING\x1b[0m: participant 3 failed" in screen.getvalue()
    assert "Starting Flower Simulation" not in screen.getvalue()


def test_a_dumb_terminal_gets_plain_lines(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(force_terminal=True)
    with Display(console) as display:
        display.show(WARNING)
    assert capsys.readouterr().out == "WARNING: participant 3 failed\n"


class Ended:
    """A run whose log has been read to its end."""

    def __init__(self, text: str, *signals: signal.Signals) -> None:
        stop = StopSignals()
        stop.received += signals
        self.log = RunLog(stop)
        self.log.follow(io.StringIO(text))
        self.log.wait()


def test_what_the_command_needs_is_read_from_lines_that_are_not_shown(capsys, tmp_path):
    ended = Ended(
        f"Successfully started run 17\n{LINE}\x1b[92mINFO \x1b[0m:      results: {tmp_path}\n"
    )
    assert ended.log.run_id == "17"
    assert ended.log.results == tmp_path
    assert capsys.readouterr().out == f"{PLAIN}results: {tmp_path}\n"


FAILURES = (
    "round 2: participant north did not train: DataError; its own log says more",
    "round 2: participant north did not evaluate: no reply within the deadline of 5 s",
    "node 77 is left out, it did not say who it is: node config: name is missing",
    "update of participant 3 refused: array 0 holds 4 values that are not finite",
)


@pytest.mark.parametrize("line", FAILURES)
def test_a_node_that_failed_is_noted_so_that_its_log_is_kept(line):
    assert Ended(f"WARNING :   {line}\n").log.node_failed


def test_lines_of_a_run_without_failures_are_not_taken_for_one():
    assert not Ended(f"INFO :      participant a has gone\n{LINE}").log.node_failed


def test_where_the_results_are_is_said_at_the_start_and_last(capsys, tmp_path):
    where = f"INFO :      results: {tmp_path}\n"
    ended = Ended(where + LINE + where + "INFO :      \n")
    ended.log.tell_end(None, resume="scripts/run")
    assert capsys.readouterr().out == f"results: {tmp_path}\n{PLAIN}Results: {tmp_path}\n"


def test_a_run_that_failed_says_so_last_and_how_to_continue(capfd, tmp_path):
    ended = Ended(f"results: {tmp_path}\n")
    (tmp_path / "checkpoint.safetensors").touch()
    ended.log.tell_end("the run ended as finished:failed: no", resume="scripts/run")
    out, err = capfd.readouterr()
    assert out.splitlines()[1:] == [
        f"To continue: scripts/run --resume {tmp_path}",
        f"Results: {tmp_path}",
    ]
    assert err == "error: the run ended as finished:failed: no\n"


def test_a_run_whose_rounds_were_all_in_vain_continues_with_more_of_them(capsys, tmp_path):
    (tmp_path / "checkpoint.safetensors").touch()
    problem = "all 3 rounds are done, but no round changed the model, which is the initial one"
    log = RunLog(StopSignals())
    log.follow(io.StringIO(f"results: {tmp_path}\nERROR: run stopped: {problem}\n"))
    log.wait()
    log.tell_end(problem, "scripts/run")
    expected = f"To continue: scripts/run --resume {tmp_path} -c num-server-rounds=6\n"
    assert expected in capsys.readouterr().out


def test_without_a_checkpoint_there_is_nothing_to_continue(capsys, tmp_path):
    Ended(f"results: {tmp_path}\n", signal.SIGINT).log.tell_end(None, resume="scripts/run")
    assert "To continue" not in capsys.readouterr().out


def test_a_run_that_was_stopped_before_it_had_results_says_that(capsys):
    Ended("", signal.SIGINT).log.tell_end(None, resume="scripts/run")
    assert capsys.readouterr().out == "Stopped before there were results.\n"
