from typing import Any

import pytest
from flwr.clientapp import ClientApp
from flwr.server.client_manager import SimpleClientManager

from fl_app.messaging.client_registry import ClientRegistry
from fl_app.rounds.phases import Phases
from fl_app.rounds.round_strategy import round_strategy
from fl_app.secure_aggregation.settings import SecureSettings
from scripts.harness.in_process_grid import Fault, InProcessGrid
from strategies import DeltaFedAvg
from tests.support.toy_secure_rounds import APP, SETTINGS


@pytest.fixture
def phases_of(run_config):
    def build(
        num_nodes: int,
        faults: dict[int, Fault] | None = None,
        settings: SecureSettings = SETTINGS,
        app: ClientApp = APP,
        order: int = 0,
        deadline: float | None = None,
        **strategy: Any,
    ) -> Phases:
        config = run_config | {
            "num-participants": num_nodes,
            "secure-aggregation": True,
            "clip-norm": settings.clip_norm,
            "secure-shares": settings.shares,
            "secure-threshold": settings.threshold,
        }
        grid = InProcessGrid(app, config, num_nodes, order, faults)
        manager = SimpleClientManager()
        ClientRegistry(grid, manager).refresh()
        return Phases(grid, manager, round_strategy(DeltaFedAvg(**strategy)), deadline, settings)

    return build
