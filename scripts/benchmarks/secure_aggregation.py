"""What masks cost: rounds of SimpleCNN without any training, plain and secure in turn.

    python -m scripts.benchmarks.secure_aggregation [--participants 3 10] [--repeats 3]

Server and participants are one process here, so its CPU time is that of all of them together; it
depends less than the clock on what else the machine does.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from flwr.app import Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, Scalar
from flwr.server.client_manager import SimpleClientManager

from fl_app.messaging.client_registry import ClientRegistry
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_strategy import round_strategy
from fl_app.secure_aggregation.client_mod import secure_aggregation
from fl_app.secure_aggregation.settings import SecureSettings
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model
from scripts.harness.in_process_grid import InProcessGrid
from scripts.repository import default_run_config
from strategies import DeltaFedAvg
from strategies.core.client_update import DELTA, UPDATE_KEY
from strategies.core.npy import GlobalWeights

_WEIGHTS = get_weights(build_model("simple-cnn", 0))
_CLIP_NORM = 1.0


class Untrained(NumPyClient):
    """A participant whose delta is a thousandth of the weights."""

    def __init__(self, partition_id: int) -> None:
        self._partition_id = partition_id

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is, and how much it weighs."""
        return {"participant": str(self._partition_id), "num-examples": 6000}

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Return a delta at once."""
        return [array / np.float32(1000) for array in parameters], 6000, {UPDATE_KEY: DELTA}


def _client(context: Context) -> Client:
    return Untrained(int(context.node_config["partition-id"])).to_client()


def rounds(num_participants: int, secure: bool) -> Callable[[], tuple[float, int, int]]:
    """Return a function that runs a round: CPU seconds, and bytes up and down."""
    config = default_run_config() | {
        "num-participants": num_participants,
        "secure-aggregation": secure,
    }
    app = ClientApp(_client, mods=[secure_aggregation])
    grid = InProcessGrid(app, config | {"clip-norm": _CLIP_NORM}, num_participants)
    manager = SimpleClientManager()
    ClientRegistry(grid, manager).refresh()
    settings = SecureSettings(_CLIP_NORM) if secure else None
    phases = Phases(grid, manager, round_strategy(DeltaFedAvg()), None, settings)
    weights = GlobalWeights(_WEIGHTS)

    def run() -> tuple[float, int, int]:
        start = time.process_time()
        fit = phases.aggregate(phases.train(1, weights))
        seconds = time.process_time() - start
        if fit.weights is None:
            raise RuntimeError("the round gave no model")
        up, down = (
            sum(getattr(p, b) for p in fit.participants) for b in ("bytes_up", "bytes_down")
        )
        return seconds, up, down

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--participants", type=int, nargs="+", default=[3, 10, 21, 50])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print("| participants | plain, CPU s | secure, CPU s | each, s | up | down |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number in arguments.participants:
        plain, secure = rounds(number, secure=False), rounds(number, secure=True)
        pairs = [(plain(), secure()) for _ in range(arguments.repeats)]
        base, masked = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
        up, down = (pairs[0][1][i] / pairs[0][0][i] for i in (1, 2))
        print(
            f"| {number} | {base:.2f} | {masked:.2f} | {(masked - base) / number:.3f} "
            f"| x {up:.3f} | x {down:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
