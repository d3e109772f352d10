"""What of a run's log reaches the user; the lines are recorded from flwr 1.42 and ray 2.55."""

import pytest

from scripts.launcher.flower_lines import LogLine, failure_reason, plain, readable

INFO = "\x1b[92mINFO \x1b[0m:      "
WARNING = "\x1b[93mWARNING \x1b[0m:   "
ERROR = "\x1b[91mERROR \x1b[0m:     "
WORKER = "\x1b[36m(ClientAppActor pid=5233)\x1b[0m "

CONCERN_NOBODY = (
    "Using SuperLink: launcher (127.0.0.1:54245)\n",
    "Successfully started run 15448077448118308000\n",
    f"{INFO}Starting logstream for run_id `15448077448118308000`\n",
    f"{INFO}Starting Flower Simulation\n",
    f"{WARNING}Since flwr 1.32, default simulated SuperNodes changed from 10 to 2.\n",
    f"{INFO}Federation `@none/default` (10 simulated SuperNodes)\n",
    f"{INFO}To change federation size, use the following command:\n",
    f"{INFO}\tflwr federation simulation-config @none/default <superlink> --num-supernodes <N>\n",
    "Successfully installed delta-fedavg to "
    "/tmp/dfa-3596-gmoe1ts9/flwr/apps/delta-fedavg.delta-fedavg.0.1.0.c36ede57.\n",
    f"{INFO}Start `flwr-serverapp` process\n",
    f"{WORKER}{WARNING}Manually terminating ClientAppActor\n",
    f"{WORKER}{WARNING}Manually terminating ClientAppActor\x1b[32m [repeated 2x across cluster] "
    "(Ray deduplicates logs by default. Set RAY_DEDUP_LOGS=0 to disable log deduplication)\x1b[0m",
    f"{INFO}\n",
    "Task stopped by user.\n",
    f"{INFO}[RUN 13848366894844039394, ROUND 1]\n",
    f"{INFO}Receiving: get_properties message (ID: db180bcad2fd0f6e1d275fd26a74bf576bffc240)\n",
    f"{INFO}Received successfully\n",
    f"{INFO}Start `flwr-clientapp` process\n",
    f"{INFO}Sending: train message (ID: ac25ac4bc65e38aa00c1f88869a4810ccbb496b587c2b00fedce)\n",
    f"{INFO}Sent successfully\n",
    f"{INFO}[Fleet.PushMessages] Push replies from node_id=40233554038105945\n",
    f"{INFO}[Fleet.GetRun] Requesting `Run` for run_id=13848366894844039394\n",
    "2026-11-27T16:08:40.758Z INFO [uvicorn.access] 127.0.0.1:59222 - "
    '"POST /v1/fleet/get-run HTTP/1.1" 200\n',
    f"{ERROR}Exit Code: 700\n",
    "An unhandled exception occurred when running the simulation.\n",
    "For more information, visit: "
    "<https://flower.ai/docs/framework/1.42/en/ref-exit-codes/700.html>\n",
    f"{ERROR}Exit Code: 201\n",
    "An unhandled exception occurred in the ServerApp.\n",
)

CONCERN_THE_USER = {
    f"{INFO}results: /home/me/results/1\n": "results: /home/me/results/1",
    f"{INFO}round 0/3 | central accuracy 11.11% loss 2.3178\n": "round 0/3 | central accuracy "
    "11.11% loss 2.3178",
    f"{INFO}\tindented by a tab\n": "\tindented by a tab",
    f"{INFO}  indented by two\n": "  indented by two",
    f"{WARNING}round 1 changes nothing: 0 valid updates, 1 needed\n": "WARNING: round 1 changes "
    "nothing: 0 valid updates, 1 needed",
    f"{ERROR}run stopped: too few participants\n": "ERROR: run stopped: too few participants",
    f"{WORKER}{WARNING}local training diverged\n": "(ClientAppActor pid=5233) WARNING: local "
    "training diverged",
    f"{WORKER}Segmentation fault\n": "(ClientAppActor pid=5233) Segmentation fault",
    # Empty, and yet part of what is said: the first line of a box.
    f"{WARNING}\n": "WARNING:",
    "\n": "",
    "Traceback (most recent call last):\n": "Traceback (most recent call last):",
    # Nearly what is dropped.
    f"{ERROR}Exit Code: 203\n": "ERROR: Exit Code: 203",
    '2026-11-27T16:08:40.758Z INFO [uvicorn.access] h - "POST /v1/fleet HTTP/1.1" 500\n': (
        '2026-11-27T16:08:40.758Z INFO [uvicorn.access] h - "POST /v1/fleet HTTP/1.1" 500'
    ),
    f"{ERROR}Starting Flower Simulation\n": "ERROR: Starting Flower Simulation",
    f"{INFO}Starting Flower Simulation failed\n": "Starting Flower Simulation failed",
    f"{WORKER}{WARNING}Manually terminating OtherActor\n": "(ClientAppActor pid=5233) WARNING: "
    "Manually terminating OtherActor",
    f"{WARNING}Since flwr 1.50, default simulated SuperNodes changed from 2 to 1.\n": "WARNING: "
    "Since flwr 1.50, default simulated SuperNodes changed from 2 to 1.",
    "a line of the application that has no end": "a line of the application that has no end",
}


@pytest.mark.parametrize("line", CONCERN_NOBODY)
def test_lines_of_flower_that_concern_nobody_are_dropped_with_colours_and_without(line: str):
    assert not LogLine.read(line).concerns_user
    assert not LogLine.read(plain(line.rstrip("\n")) + "\n").concerns_user


@pytest.mark.parametrize(("line", "shown"), CONCERN_THE_USER.items())
def test_every_other_line_is_shown_without_colours_and_without_the_word_info(line: str, shown: str):
    read = LogLine.read(line)
    assert read.concerns_user
    assert read.shown() == shown
    assert plain(read.shown(colour=True)) == shown


def test_of_a_nodes_log_what_is_left_is_what_concerns_the_user():
    log = (
        f"{INFO}SuperNode ID: 40233554038105945\n{INFO}\n{INFO}[RUN 17, ROUND 1]\n"
        f"{INFO}Sending: train message (ID: ab12)\n{INFO}Sent successfully\n\n"
        f"{WARNING}Connection attempt failed, retrying in 0.89 seconds\n\nKilled"
    )
    assert readable(log) == [
        "SuperNode ID: 40233554038105945",
        "WARNING: Connection attempt failed, retrying in 0.89 seconds",
        "",
        "Killed",
    ]


def test_of_a_failure_the_reason_is_left():
    for app in ("Simulation", "ServerApp"):
        assert failure_reason(f"{app} failed with exception: no data") == "no data"
    assert failure_reason("No heartbeat received from the run") == (
        "No heartbeat received from the run"
    )


def test_colours_are_those_of_the_level_or_the_lines_own():
    assert (
        LogLine.read(f"{WARNING}careful\n").shown(colour=True) == "\x1b[33mWARNING\x1b[0m: careful"
    )
    assert LogLine.read(f"{ERROR}failed\n").shown(colour=True) == "\x1b[31mERROR\x1b[0m: failed"
    assert LogLine.read(f"{INFO}fine\n").shown(colour=True) == "fine"
    assert LogLine.read("\x1b[32mgreen\x1b[0m\n").shown(colour=True) == "\x1b[32mgreen\x1b[0m"


def test_nothing_of_a_line_moves_the_cursor_or_names_the_window():
    line = "\x1b[2J\x1b[1;1Hone\x1b]0;title\x07 \x1b[31mtwo\x1b[0m\x08\x9b3A\tthree\x1b[\n"
    read = LogLine.read(line)
    assert read.shown() == "one two3A\tthree"
    assert read.shown(colour=True) == "one \x1b[31mtwo\x1b[0m3A\tthree"
