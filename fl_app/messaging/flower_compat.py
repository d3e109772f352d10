"""All that the application uses of Flower although Flower does not promise it.

Whatever is not exported by Flower's documented modules is imported here and nowhere else in
`fl_app`: converters of the message API that `NumPyClient` speaks, the legacy context and client
proxy, SecAgg+ with its constants and stages, and names that Flower gives to what it stores. What
looks into Flower's objects is a function here. The command lines, environment variables and texts
of Flower's processes are in `scripts.processes.flower_cli`, the arithmetic of its robust
strategies in `strategies.aggregation.flower_arithmetic`. Each thing relied upon has a case in
`tests/fl_app/messaging/test_flower_compat.py`.

In deployment a participant imports this with every message. It costs nothing: `import flwr.client`
loads every module that is imported here, which a test checks. `InMemoryGrid`, of which that is not
true, is only looked up where a simulation has loaded it.
"""

import sys
from typing import Any, NamedTuple

from flwr.app import Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.clientapp.typing import ClientAppCallable
from flwr.common.constant import ErrorCode
from flwr.common.secure_aggregation.secaggplus_constants import (
    RECORD_KEY_CONFIGS,
    RECORD_KEY_STATE,
)
from flwr.common.secure_aggregation.secaggplus_constants import Key as SecAggKey
from flwr.common.secure_aggregation.secaggplus_constants import Stage as SecAggStage
from flwr.compat.common.recorddict_compat import (
    evaluateins_to_recorddict,
    fitins_to_recorddict,
    getpropertiesins_to_recorddict,
    parameters_to_arrayrecord,
    recorddict_to_evaluateres,
    recorddict_to_fitres,
    recorddict_to_getpropertiesres,
)
from flwr.server.compat import LegacyContext
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState
from flwr.serverapp import Grid
from flwr.supercore.primitives.asymmetric import bytes_to_public_key
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "CLIENT_APP_FAILED",
    "FIT_PARAMETERS_RECORD",
    "MAIN_CONFIGS_RECORD",
    "MAIN_PARAMS_RECORD",
    "NODE_UNAVAILABLE",
    "RECORD_KEY_CONFIGS",
    "RECORD_KEY_STATE",
    "ClientAppCallable",
    "GridClientProxy",
    "LegacyContext",
    "Run",
    "SecAggKey",
    "SecAggPlusWorkflow",
    "SecAggStage",
    "SecAggTerms",
    "WorkflowKey",
    "WorkflowState",
    "agreed_terms",
    "bytes_to_public_key",
    "evaluateins_to_recorddict",
    "fitins_to_recorddict",
    "getpropertiesins_to_recorddict",
    "identify_process",
    "is_simulated",
    "parameters_to_arrayrecord",
    "recorddict_to_evaluateres",
    "recorddict_to_fitres",
    "recorddict_to_getpropertiesres",
    "registration_times",
    "secaggplus_mod",
    "set_message_id",
]

CLIENT_APP_FAILED: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
"""The code of an error that a participant's own work ended with."""

NODE_UNAVAILABLE: int = ErrorCode.NODE_UNAVAILABLE
"""The code of an error that stands for a node which has gone."""

FIT_PARAMETERS_RECORD = "fitres.parameters"
"""Name of the array record in which the reply to a fit message carries its arrays."""

_IN_MEMORY_GRID = "flwr.superlink.grid.inmemory_grid"


class SecAggTerms(NamedTuple):
    """What a participant agreed to in the setup stage of SecAgg+, for the round.

    Attributes:
        clipping_range: No value may be further from 0.
        max_weight: No number of examples may be larger.
    """

    clipping_range: float
    max_weight: float


def agreed_terms(context: Context) -> SecAggTerms:
    """Return what `secaggplus_mod` keeps of the setup stage in a participant's state.

    Raises:
        KeyError: If there was no setup stage.
    """
    state: Any = context.state.config_records[RECORD_KEY_STATE]
    return SecAggTerms(float(state["clipping_range"]), float(state["max_weight"]))


def registration_times(grid: Grid) -> dict[int, str] | None:
    """Return when each node of a simulation registered, as ISO 8601, by node id.

    Returns:
        `None` where nodes are not simulated.
    """
    return (
        {node.node_id: node.registered_at for node in grid.get_nodes()}
        if is_simulated(grid)
        else None
    )


def is_simulated(grid: Grid) -> bool:
    """Tell whether a grid's nodes are simulated, in this very process."""
    # A simulation has loaded this; elsewhere it would cost a second for nothing.
    module = sys.modules.get(_IN_MEMORY_GRID)
    return module is not None and isinstance(grid, module.InMemoryGrid)


def set_message_id(message: Message, message_id: str) -> None:
    """Name a message, as Flower's grids do when they send it."""
    message.metadata.__dict__["_message_id"] = message_id


def identify_process(task_id: int, run_id: int, node_id: int) -> None:
    """Set what Flower's own processes set for themselves before they create messages."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task_id, run_id, node_id
