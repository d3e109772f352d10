"""The whole application in this process, over a `InProcessGrid`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict

from fl_app.client_app import app as client_app
from fl_app.server_app import app as server_app
from scripts.harness.in_process_grid import Fault, InProcessGrid


def run_app(
    config: Mapping[str, Any], order: int = 0, faults: Mapping[int, Fault] | None = None
) -> Path:
    """Run the application and return its run directory.

    Args:
        config: The run config, whole.
        order: Decides the order of arrival.
        faults: What goes wrong, by partition id.
    """
    grid = InProcessGrid(client_app, config, int(config["num-participants"]), order, faults)
    return run_on(grid, config)


def run_on(grid: InProcessGrid, config: Mapping[str, Any]) -> Path:
    """Run the application over a grid and return its run directory."""
    results = Path(config["output-dir"])
    before = set(results.glob("*"))
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    server_app(grid, context)
    if config["resume"]:
        return Path(config["resume"])
    (directory,) = set(results.glob("*")) - before
    return directory
