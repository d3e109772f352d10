"""The client app's participant of a linear model, without a federation."""

from typing import Any

from flwr.app import Context, RecordDict
from flwr.client import NumPyClient
from flwr.common import NDArrays

from fl_app.client_app import client_fn
from fl_app.tasks.model.parameters import get_weights
from fl_app.tasks.registry import build_model


def node(config: dict[str, Any], state: RecordDict | None = None, **node_config: Any) -> Context:
    return Context(
        run_id=1,
        node_id=5,
        node_config={key.replace("_", "-"): value for key, value in node_config.items()},
        state=RecordDict() if state is None else state,
        run_config=config,
    )


def participant(
    config: dict[str, Any], partition_id: int = 0, state: RecordDict | None = None
) -> NumPyClient:
    """The participant that answers a message, as Flower gets it."""
    context = node(
        config, state, partition_id=partition_id, num_partitions=config["num-participants"]
    )
    client = client_fn(context)
    numpy_client: NumPyClient = client.numpy_client  # type: ignore[attr-defined]
    return numpy_client


def initial(config: dict[str, Any]) -> NDArrays:
    return get_weights(build_model(config["model"], config["seed"]))


def fit(config: dict[str, Any], partition_id: int = 0, **sent: Any) -> NDArrays:
    return participant(config, partition_id).fit(initial(config), sent)[0]


def bits(arrays: NDArrays) -> list[bytes]:
    return [array.tobytes() for array in arrays]
