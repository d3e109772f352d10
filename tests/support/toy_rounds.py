"""Rounds of participants that move one weight by 1, and hooks that record them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerConfig
from flwr.server.compat import LegacyContext
from flwr.server.strategy import FedAvg

from fl_app.results.records import RoundReport
from fl_app.rounds.round_loop import FederatedWorkflow, RoundHook
from fl_app.rounds.settings import WorkflowSettings
from scripts.harness.in_process_grid import Fault, InProcessGrid
from strategies import DeltaFedAvg
from strategies.core.client_update import Arrays


class Toy(NumPyClient):
    """Moves the only weight by 1 in every round."""

    def __init__(self, partition_id: int) -> None:
        self._name = str(partition_id)

    def get_properties(self, config):
        return {"participant": self._name}

    def fit(self, parameters, config):
        one = np.ones(1, np.float32)
        if config.get("update") == "delta":
            return [one], 1, {"update": "delta"}
        return [parameters[0] + one], 1, {}

    def evaluate(self, parameters, config):
        return float(parameters[0][0]), 1, {"accuracy": 0.5}


def toy_client(context: Context) -> Client:
    return Toy(int(context.node_config["partition-id"])).to_client()


class Recorder:
    """A hook that keeps what it is shown, and may do something after a round."""

    def __init__(self, act: Callable[[int], str | None] = lambda server_round: None) -> None:
        self.reports: list[RoundReport] = []
        self.weights: list[float] = []
        self._act = act

    def after_round(self, report: RoundReport, weights: Arrays) -> str | None:
        self.reports.append(report)
        self.weights.append(float(weights[0][0]))
        return self._act(report.server_round)

    @property
    def rounds(self) -> list[int]:
        return [report.server_round for report in self.reports]


def grid_of(num_nodes: int, faults: dict[int, Fault] | None = None) -> InProcessGrid:
    return InProcessGrid(ClientApp(toy_client), {}, num_nodes, faults=faults)


def run(
    grid: InProcessGrid,
    hooks: Sequence[RoundHook],
    rounds: int = 3,
    strategy: FedAvg | None = None,
    **settings: Any,
) -> str:
    """Run a workflow from weight 0 and return why it ended."""
    start = ndarrays_to_parameters([np.zeros(1, np.float32)])
    strategy = strategy or DeltaFedAvg(
        initial_parameters=start,
        min_fit_clients=1,
        min_evaluate_clients=1,
        min_available_clients=1,
    )
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    legacy = LegacyContext(context, config=ServerConfig(num_rounds=rounds), strategy=strategy)
    settings = {"num_participants": 3, "quorum_deadline": 30.0} | settings
    return FederatedWorkflow(hooks, WorkflowSettings(**settings))(grid, legacy)


def in_round(server_round: int, fault: Fault) -> Fault:
    """Let a fault strike in one round only."""

    def limited(message: Message, reply: Callable[[], Message]) -> Message | None:
        if message.metadata.group_id == str(server_round):
            return fault(message, reply)
        return reply()

    return limited


def not_a_number(message: Message, reply: Callable[[], Message]) -> Message:
    answer = reply()
    if message.metadata.message_type == "train":
        for array in answer.content.array_records["fitres.parameters"].values():
            array.data = array.data[:-4] + np.float32(np.nan).tobytes()
    return answer


def error(message: Message, reply: Callable[[], Message]) -> Message:
    return Message(Error(3, "out of memory"), reply_to=message)


def silence(message: Message, reply: Callable[[], Message]) -> None:
    return None
