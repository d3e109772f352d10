"""The lines of Flower's log that `flower_lines` drops, and how Flower writes a line."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from scripts.launcher.flower_lines import LogLine
from tests.support.flower.reliance import Reliance, contains, found


class Line(NamedTuple):
    """A line that concerns nobody: its level, or ""; where and how Flower has it; an example."""

    level: str
    file: str
    written: str
    printed: str


EXITS, SIMULATION = "supercore/exit/exit_code.py", "simulation/app.py"
NODE = "supernode/start_client_internal.py"
FLEET = "superlink/servicer/fleet/fleet_handlers.py"
_HELP = "For more information, visit: <"
LINES = (
    Line(
        *("", "cli/utils.py", 'f"Using SuperLink: {superlink_connection.name} "'),
        "Using SuperLink: here (127.0.0.1:1)",
    ),
    Line(
        *("", "cli/run/run.py", 'f"Successfully started run {res.run_id}"'),
        "Successfully started run 7",
    ),
    Line(
        *("", "cli/install.py", 'f"Successfully installed {project_name} to {install_path}."'),
        "Successfully installed an-app to /a/folder.",
    ),
    Line(
        *("INFO", "cli/log.py", '"Starting logstream for run_id `%s`"'),
        "Starting logstream for run_id `7`",
    ),
    Line("INFO", "cli/log.py", '"Exiting logstream"', "Exiting logstream"),
    Line("INFO", SIMULATION, '"Starting Flower Simulation"', "Starting Flower Simulation"),
    Line(
        *("INFO", "superlink/cli/flwr_serverapp.py", '"Start `flwr-serverapp` process"'),
        "Start `flwr-serverapp` process",
    ),
    Line(
        *("WARNING", SIMULATION),
        '"Since flwr 1.32, default simulated SuperNodes changed from 10 to 2."',
        "Since flwr 1.32, default simulated SuperNodes changed from 10 to 2.",
    ),
    Line(
        *("INFO", SIMULATION, '"Federation `%s` (%s simulated SuperNodes)"'),
        "Federation `@none/default` (3 simulated SuperNodes)",
    ),
    Line(
        *("INFO", SIMULATION, '"To change federation size, use the following command:"'),
        "To change federation size, use the following command:",
    ),
    Line(
        *("INFO", SIMULATION, '"%s <superlink> --num-supernodes <N>"'),
        "\tflwr federation simulation-config @none/default <superlink> --num-supernodes <N>",
    ),
    Line(
        *("WARNING", "simulation/ray_transport/ray_actor.py", '"Manually terminating %s"'),
        "Manually terminating ClientAppActor",
    ),
    Line("ERROR", "supercore/exit/exit.py", 'f"Exit Code: {code}\\n"', "Exit Code: 700"),
    Line("ERROR", EXITS, "SERVERAPP_EXCEPTION = 201\n", "Exit Code: 201"),
    Line("ERROR", EXITS, "SIMULATION_EXCEPTION = 700\n", "Exit Code: 700"),
    Line(
        *("", EXITS, '"An unhandled exception occurred in the ServerApp."'),
        "An unhandled exception occurred in the ServerApp.",
    ),
    Line(
        *("", EXITS, '"An unhandled exception occurred when running the simulation."'),
        "An unhandled exception occurred when running the simulation.",
    ),
    Line(
        *("", "supercore/exit/exit.py", f"{_HELP}{{_get_code_url(code)}}>"),
        f"{_HELP}https://flower.ai/docs/framework/1.42/en/ref-exit-codes/700.html>",
    ),
    Line(
        *("", "superlink/runtime/run_serverapp.py", '"Task stopped by user."'),
        "Task stopped by user.",
    ),
    Line("INFO", NODE, '"[RUN %s]"', "[RUN 7]"),
    Line("INFO", NODE, '"[RUN %s, ROUND %s]"', "[RUN 7, ROUND 3]"),
    Line(
        *("INFO", NODE, '"Receiving: %s message (ID: %s)"'),
        "Receiving: train message (ID: 0a1b)",
    ),
    Line("INFO", NODE, '"Sending: %s message (ID: %s)"', "Sending: train message (ID: 0a1b)"),
    Line("INFO", NODE, '"Received successfully"', "Received successfully"),
    Line("INFO", NODE, '"Sent successfully"', "Sent successfully"),
    Line(
        *("INFO", "supernode/cli/flwr_clientapp.py", '"Start `flwr-clientapp` process"'),
        "Start `flwr-clientapp` process",
    ),
    Line(
        *("INFO", FLEET, '"[Fleet.PushMessages] Push replies from node_id=%s"'),
        "[Fleet.PushMessages] Push replies from node_id=12",
    ),
    Line(
        *("INFO", FLEET, '"[Fleet.GetRun] Requesting `Run` for run_id=%s"'),
        "[Fleet.GetRun] Requesting `Run` for run_id=7",
    ),
    Line(
        *("INFO", FLEET, '"[Fleet.GetFab] Requesting FAB for fab_hash=%s"'),
        "[Fleet.GetFab] Requesting FAB for fab_hash=0a1b",
    ),
    Line(
        *("", "supercore/http_logging.py", '"uvicorn.access"'),
        '2026-11-27T15:00:00Z INFO [uvicorn.access] 127.0.0.1:1 - "POST /push HTTP/1.1" 200',
    ),
)


def _dropped(line: Line) -> Callable[[], None]:
    def check() -> None:
        contains(line.file, line.written)
        assert not LogLine("", line.level, "", line.printed).concerns_user

    return check


def _head() -> None:
    handler = found("flwr.common.logger:ConsoleHandler")(timestamps=False, json=False, colored=True)
    for level in ("INFO", "WARNING", "ERROR"):
        number = logging.getLevelNamesMapping()[level]
        record = logging.LogRecord("flwr", number, "", 0, "  text", None, None)
        read = LogLine.read(handler.format(record))
        assert (read.level, read.text) == (level, "  text")


LOG_LINES = [
    Reliance("the head of a line of Flower's log", "show the level of what matters", _head),
    *(
        Reliance(
            f"the line {line.printed.strip()!r}, by {line.written.strip()!r} in {line.file}",
            "leave it out of what is shown",
            _dropped(line),
        )
        for line in LINES
    ),
]
