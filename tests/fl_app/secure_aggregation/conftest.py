from functools import partial
from typing import Any

import pytest
from flwr.clientapp import ClientApp
from flwr.server.client_manager import SimpleClientManager

from fl_app.messaging.client_registry import ClientRegistry
from fl_app.messaging.fit_config import TRAIN_MEASURES_KEY
from fl_app.messaging.replies import merged_metrics
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
        merged = partial(merged_metrics, TRAIN_MEASURES_KEY, {})
        averaging: dict[str, Any] = {"fit_metrics_aggregation_fn": merged}
        ClientRegistry(grid, manager).refresh()
        return Phases(
            grid, manager, round_strategy(DeltaFedAvg(**(averaging | strategy))), deadline, settings
        )

    return build
