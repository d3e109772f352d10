"""The participant: a `NumPyClient` in a `ClientApp`."""

from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import ConfigRecord, Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, RecordDict, Scalar

from fl_app.config import RunConfig
from fl_app.data import Examples, load_dataset, resolve_dataset
from fl_app.errors import ConfigError
from fl_app.models import build_model, get_weights, set_weights
from fl_app.mods import give_up_at_deadline, report_failures
from fl_app.partition import PartitionSpec, train_and_test_indices
from fl_app.paths import resolve_data_dir
from fl_app.protocol import DATASET_KEY, ROUND_KEY
from fl_app.seeding import training_generator
from fl_app.settings import partition_spec, training_settings
from fl_app.training import cpu_threads, evaluate, local_update, resolve_device
from strategies.delta_fedavg import DELTA, UPDATE_KEY, WEIGHTS

_STATE = "participant"
_TRAINED = "latest-round-trained"


class Participant(NumPyClient):
    """One participant's side of the algorithm.

    What the server decides for everybody arrives with each instruction, in its config:

    - `update`: `"delta"` asks for `w_i - w_t`; without it `fit` returns weights, which
      is what Flower's own strategies expect.
    - `server-round`: the round; without it the participant counts its own.
    - `dataset`: the set that the server resolved; without it the run config's.
    """

    def __init__(self, config: RunConfig, partition_id: int, state: RecordDict) -> None:
        """Set up a participant for one message.

        Args:
            config: The run config.
            partition_id: Which part of the data it holds, in [0, num-participants).
            state: What persists between this participant's messages.
        """
        self._config = config
        self._partition_id = partition_id
        self._state = state

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is: the server asks once."""
        return {
            "participant": str(self._partition_id),
            "partition-id": self._partition_id,
            "num-partitions": self._config.num_participants,
        }

    def get_parameters(self, config: dict[str, Scalar]) -> NDArrays:
        """Return the initial weights of the run, for strategies that ask for them."""
        return get_weights(build_model(self._config.model, self._config.seed))

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train on the participant's own examples: step 2 of the algorithm.

        Args:
            parameters: The global weights `w_t`.
            config: See the class.

        Returns:
            The delta, or the weights if no delta was asked for; the number of examples;
            and the metrics of the training.
        """
        run = self._config
        with cpu_threads(run.threads_per_client):
            update = local_update(
                build_model(run.model, run.seed),
                parameters,
                self._examples(config)[0],
                training_settings(run),
                training_generator(run.seed, self._count_round(config), self._partition_id),
                resolve_device(run.device),
            )
        wants_delta = config.get(UPDATE_KEY) == DELTA
        return (
            update.delta if wants_delta else update.weights,
            update.num_examples,
            {
                UPDATE_KEY: DELTA if wants_delta else WEIGHTS,
                "train-loss": update.loss,
                "train-accuracy": update.accuracy,
                "update-norm": update.norm,
                "train-seconds": update.seconds,
            },
        )

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the global weights on the participant's own test examples."""
        model = build_model(self._config.model, self._config.seed)
        set_weights(model, parameters)
        test = self._examples(config)[1]
        if len(test) == 0:  # more participants than test examples: has no say in the average
            return 0.0, 0, {}
        with cpu_threads(self._config.threads_per_client):
            result = evaluate(model, test, resolve_device(self._config.device))
        return result.loss, result.num_examples, {"accuracy": result.accuracy}

    def _examples(self, config: dict[str, Scalar]) -> tuple[Examples, Examples]:
        data_dir = resolve_data_dir(self._config.data_dir)
        name = str(config.get(DATASET_KEY) or resolve_dataset(self._config.dataset, data_dir))
        train, test = _partition(name, data_dir, partition_spec(self._config))
        dataset = load_dataset(name, data_dir)
        return (
            dataset.train.select(train[self._partition_id]),
            dataset.test.select(test[self._partition_id]),
        )

    def _count_round(self, config: dict[str, Scalar]) -> int:
        """Return the server's round, or, where it does not tell, the count of fits here."""
        record = self._state.config_records.get(_STATE, ConfigRecord())
        server_round = int(config.get(ROUND_KEY, cast(int, record.get(_TRAINED, 0)) + 1))
        record[_TRAINED] = server_round
        self._state.config_records[_STATE] = record
        return server_round


@lru_cache(maxsize=4)
def _partition(
    dataset: str, data_dir: Path, spec: PartitionSpec
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Who holds which examples; computed once per process."""
    loaded = load_dataset(dataset, data_dir)
    return train_and_test_indices(loaded.train.labels.numpy(), loaded.test.labels.numpy(), spec)


def _partition_id(context: Context, config: RunConfig) -> int:
    """Read the partition id from the node config, checked against the run config."""
    node = context.node_config
    if "partition-id" not in node:
        raise ConfigError(
            "node config: partition-id is missing; start the SuperNode with "
            "--node-config 'partition-id=<0, 1, ...> num-partitions=<participants>'"
        )
    partition_id, num_partitions = node["partition-id"], node.get("num-partitions")
    if num_partitions != config.num_participants:
        raise ConfigError(
            f"{num_partitions} participants are simulated, but num-participants = "
            f"{config.num_participants} in the run config; make the two equal"
        )
    if not isinstance(partition_id, int) or not 0 <= partition_id < config.num_participants:
        raise ConfigError(
            f"node config: partition-id = {partition_id!r} is not allowed; "
            f"it must be a whole number from 0 to {config.num_participants - 1}"
        )
    return partition_id


def client_fn(context: Context) -> Client:
    """Build the participant that a message is for."""
    config = RunConfig.from_run_config(context.run_config)
    return Participant(config, _partition_id(context, config), context.state).to_client()


app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline])
