"""The participant: a `NumPyClient` in a `ClientApp`."""

from typing import cast

from flwr.app import ConfigRecord, Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, RecordDict, Scalar

from fl_app.config import RunConfig
from fl_app.local_data import NodeConfig, local_data, participant_name
from fl_app.models import build_model, get_weights, set_weights
from fl_app.mods import give_up_at_deadline, report_failures
from fl_app.own_data import LocalData
from fl_app.protocol import DATASET_KEY, ROUND_KEY
from fl_app.seeding import training_generator
from fl_app.settings import training_settings
from fl_app.training import cpu_threads, evaluate, local_update, resolve_device
from strategies.updates import DELTA, UPDATE_KEY, WEIGHTS

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

    def __init__(self, config: RunConfig, node_config: NodeConfig, state: RecordDict) -> None:
        """Set up a participant for one message.

        Args:
            config: The run config.
            node_config: Who it is, and where its data lies or which part is its own.
            state: What persists between this participant's messages.
        """
        self._config = config
        self._node_config = node_config
        self._name = participant_name(node_config, config)
        self._state = state

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is: the server asks once."""
        return {"participant": self._name}

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
                self._data(config).train,
                training_settings(run),
                training_generator(run.seed, self._count_round(config), self._name),
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
        test = self._data(config).test
        if len(test) == 0:  # more participants than test examples: has no say in the average
            return 0.0, 0, {}
        with cpu_threads(self._config.threads_per_client):
            result = evaluate(model, test, resolve_device(self._config.device))
        return result.loss, result.num_examples, {"accuracy": result.accuracy}

    def _data(self, config: dict[str, Scalar]) -> LocalData:
        dataset = config.get(DATASET_KEY)
        return local_data(
            self._node_config, self._config, None if dataset is None else str(dataset)
        )

    def _count_round(self, config: dict[str, Scalar]) -> int:
        """Return the server's round, or, where it does not tell, the count of fits here."""
        record = self._state.config_records.get(_STATE, ConfigRecord())
        server_round = int(config.get(ROUND_KEY, cast(int, record.get(_TRAINED, 0)) + 1))
        record[_TRAINED] = server_round
        self._state.config_records[_STATE] = record
        return server_round


def client_fn(context: Context) -> Client:
    """Build the participant that a message is for."""
    config = RunConfig.from_run_config(context.run_config)
    return Participant(config, context.node_config, context.state).to_client()


app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline])
