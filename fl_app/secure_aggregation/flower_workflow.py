"""Flower's SecAgg+ workflow, set up for one round, and the two things it expects around it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from flwr.common import FitIns
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import Strategy

from fl_app.messaging.flower_compat import (
    MAIN_CONFIGS_RECORD,
    MAIN_PARAMS_RECORD,
    LegacyContext,
    SecAggPlusWorkflow,
    WorkflowKey,
    WorkflowState,
)
from fl_app.secure_aggregation.fixed_point import MODULUS, SecureRange
from fl_app.secure_aggregation.settings import SecureSettings
from strategies.update_collector import FitResults

Configured = Sequence[tuple[ClientProxy, FitIns]]


@dataclass
class Handover:
    """Stands where Flower's workflow expects a strategy: gives it the round, takes the mean."""

    configured: Configured
    results: FitResults = field(default_factory=list)

    def configure_fit(self, *_: object) -> Configured:
        """Return who takes part, and what each is asked to do."""
        return self.configured

    def aggregate_fit(self, _: int, results: FitResults, __: object) -> tuple[None, dict[str, Any]]:
        """Keep the results; the global weights are moved elsewhere."""
        self.results = results
        return None, {}


def flower_workflow(
    settings: SecureSettings, num_sampled: int, plan: SecureRange
) -> SecAggPlusWorkflow:
    """Return the workflow whose stages are run."""
    shares = settings.num_shares(num_sampled)
    return SecAggPlusWorkflow(
        num_shares=shares,
        # As a share, since as a number it must be less than all; Flower rounds it back.
        reconstruction_threshold=settings.num_needed(num_sampled) / shares,
        max_weight=float(plan.max_weight),
        clipping_range=float(plan.clipping_range),
        quantization_range=plan.target_range,
        modulus_range=MODULUS,
    )


def flower_context(
    run_id: int, server_round: int, handover: Handover, client_manager: ClientManager
) -> LegacyContext:
    """Return what Flower's stages read of a context: the round, and whom to give it to."""
    state = RecordDict()
    state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord(
        {WorkflowKey.CURRENT_ROUND: server_round}
    )
    state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord()  # `Handover` has the weights
    return LegacyContext(
        Context(run_id, 0, {}, state, {}),
        strategy=cast(Strategy, handover),
        client_manager=client_manager,
    )


class _SaidElsewhere(logging.Filter):
    """Flower's workflow counts only what it is given; dropouts are told by name instead."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.module != SecAggPlusWorkflow.__module__.rpartition(".")[2]


def silence_flower_workflow(logger_name: str = "flwr") -> None:
    """Keep the lines of Flower's workflow out of the log."""
    logger = logging.getLogger(logger_name)
    if not any(isinstance(known, _SaidElsewhere) for known in logger.filters):
        logger.addFilter(_SaidElsewhere())


def forget_the_missing(state: WorkflowState) -> None:
    """Go on as if who dropped out before its keys were shared had never been sampled.

    Flower's stages would ask the others for shares of its secrets, which nobody has.
    """
    active = state.active_node_ids
    state.sampled_node_ids = set(active)
    state.nid_to_neighbours = {node: state.nid_to_neighbours[node] & active for node in active}
