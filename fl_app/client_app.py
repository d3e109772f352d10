"""The participant: a `NumPyClient` in a `ClientApp`."""

from dataclasses import replace
from logging import WARNING
from typing import cast

from flwr.app import ConfigRecord, Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, RecordDict, Scalar
from flwr.common.logger import log
from torch import nn

from fl_app.core import metrics as measured
from fl_app.core.node import NodeConfig, participant_name
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, numpy_generator, training_generator
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures
from fl_app.messaging.fit_config import (
    DATASET_KEY,
    MEASURES_KEY,
    NUM_EXAMPLES_KEY,
    PARTICIPANT_KEY,
    RECEIVED_EXAMPLES_KEY,
    RECEIVED_MEASURES_KEY,
    TRAIN_MEASURES_KEY,
    FitInstruction,
    check_same_model,
)
from fl_app.secure_aggregation.client_mod import secure_aggregation
from fl_app.tasks.local_task import LocalTask
from fl_app.tasks.model.federated_model import local_tensors, model_spec
from fl_app.tasks.model.parameters import get_weights, load_local, set_weights
from fl_app.training.attack_simulation import find_attacker
from fl_app.training.client_state import ClientState, ClientStateStore, state_folder
from fl_app.training.local_training import (
    Evaluation,
    LocalUpdate,
    cpu_threads,
    evaluate,
    resolve_device,
)
from fl_app.training.settings import pipeline_settings, training_settings
from fl_app.training.update_pipeline import UpdatePipeline
from strategies.core.client_update import DELTA, LOCAL_STEPS_KEY, UPDATE_KEY, WEIGHTS, Arrays
from strategies.core.state import STATE_LOST_KEY

_STATE = "participant"
_TRAINED = "latest-round-trained"


class Participant(NumPyClient):
    """One participant's side of the algorithm.

    What the server decides for everybody arrives with each message, in its config: see
    `fl_app.messaging.fit_config`.
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
        self._state = state
        participant_name(node_config, config)  # refused at once where it says nothing

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is, and, for secure aggregation, how much it weighs: asked once."""
        local = self._told(config)
        properties: dict[str, Scalar] = {PARTICIPANT_KEY: local.name}
        if self._config.secure_aggregation:
            private = self._config.privacy != "none"  # then all weigh the same
            properties[NUM_EXAMPLES_KEY] = 1 if private else len(local.data.train)
        return properties

    def get_parameters(self, config: dict[str, Scalar]) -> NDArrays:
        """Return the initial weights of the run, for strategies that ask for them."""
        return get_weights(self._told(config).model())

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train on the participant's own examples: step 2 of the algorithm.

        Args:
            parameters: The global weights `w_t`; with SCAFFOLD the server's control variate
                after them.
            config: See `fl_app.messaging.fit_config`.

        Returns:
            The encoded delta, or the weights if no delta was asked for; the number of
            examples; and the metrics of the training. Where privacy is on the number is 1, and
            there are no metrics.
        """
        local, instruction = self._told(config), FitInstruction.from_config(config)
        data = local.data
        pipeline = self._pipeline(local, self._count_round(instruction.server_round))
        check_same_model(model_spec(pipeline.model), config)
        with cpu_threads(self._config.threads_per_client):
            metrics: dict[str, Scalar] = {PARTICIPANT_KEY: local.name}
            client_state = self._recall(local, instruction, pipeline.remembers)
            if instruction.evaluates and len(data.test):
                received = pipeline.split(parameters)[0]
                result = self._evaluate(local, pipeline.model, received, client_state)
                metrics[RECEIVED_MEASURES_KEY] = measured.encode(result.sums)
                metrics[RECEIVED_EXAMPLES_KEY] = result.num_examples
            update = self._train(local, pipeline, parameters, client_state or ClientState())
            if not instruction.wants_delta:
                metrics |= {UPDATE_KEY: WEIGHTS} | _training_metrics(update)
                return update.weights, update.num_examples, metrics
            clip_norm = instruction.clip_norm if self._config.privacy == "central" else None
            payload, new_state = pipeline.encode(
                parameters, update, client_state or ClientState(), clip_norm
            )
        if pipeline.remembers:
            keep_from = instruction.state_keep_from
            self._store(local, instruction).save(pipeline.server_round, new_state, keep_from)
            metrics[STATE_LOST_KEY] = client_state is None
        metrics[UPDATE_KEY] = DELTA
        if pipeline.settings.protection.private:  # nothing else of the training leaves the node
            return payload, 1, metrics
        return payload, update.num_examples, metrics | _training_metrics(update)

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the global weights on the participant's own test examples."""
        local = self._told(config)
        if len(local.data.test) == 0:  # more participants than test examples: has no say
            return 0.0, 0, {}
        with cpu_threads(self._config.threads_per_client):
            model = local.model()
            check_same_model(model_spec(model), config)
            instruction = FitInstruction.from_config(config)
            client_state = self._recall(local, instruction, bool(local_tensors(model)))
            result = self._evaluate(local, model, parameters, client_state)
        measures = measured.encode(result.sums)
        metrics: dict[str, Scalar] = {PARTICIPANT_KEY: local.name, MEASURES_KEY: measures}
        return result.loss, result.num_examples, metrics

    def _told(self, config: dict[str, Scalar]) -> LocalTask:
        """Return the task that a message is about; it says which data set the server resolved."""
        dataset = config.get(DATASET_KEY)
        told = None if dataset is None else str(dataset)
        return LocalTask(self._config, self._node_config, told)

    def _pipeline(self, local: LocalTask, server_round: int) -> UpdatePipeline:
        run, name = self._config, local.name
        return UpdatePipeline(
            server_round=server_round,
            task=local.task,
            model=local.model(),
            training=training_settings(run, server_round),
            settings=pipeline_settings(run),
            generator=training_generator(run.seed, server_round, name),
            codec_generator=numpy_generator(Stream.CODEC, run.seed, server_round, name),
            device=resolve_device(run.device),
        )

    def _train(
        self,
        local: LocalTask,
        pipeline: UpdatePipeline,
        parameters: NDArrays,
        client_state: ClientState,
    ) -> LocalUpdate:
        """Train, or, in a robustness test, do what the adversary does instead."""

        def honest_delta(partition_id: int) -> Arrays:
            other = replace(local, node_config={**local.node_config, "partition-id": partition_id})
            honest = self._pipeline(other, pipeline.server_round)
            return honest.train(parameters, other.data.train, ClientState()).delta

        partition_id = self._node_config.get("partition-id")
        attacker = find_attacker(self._config, partition_id, pipeline.server_round, honest_delta)
        if attacker is None:
            return pipeline.train(parameters, local.data.train, client_state)
        poisoned = attacker.poisoned(local.task, local.data.train, pipeline.model)
        update = pipeline.train(parameters, poisoned, client_state)
        return attacker.poison_update(update, parameters)

    def _evaluate(
        self,
        local: LocalTask,
        model: nn.Module,
        weights: NDArrays,
        client_state: ClientState | None,
    ) -> Evaluation:
        set_weights(model, weights)
        load_local(model, None if client_state is None else client_state.local)
        device = resolve_device(self._config.device)
        return evaluate(local.task, model, local.data.test, device)

    def _recall(
        self, local: LocalTask, instruction: FitInstruction, remembers: bool
    ) -> ClientState | None:
        """Return the state of the round to go on from; `None` if it should be there and is not."""
        if not remembers or instruction.state_round == 0:
            return ClientState()
        client_state = self._store(local, instruction).load(instruction.state_round)
        if client_state is None:
            line = "the memory of round %s is not there; participant %s begins anew"
            log(WARNING, line, instruction.state_round, local.name)
        return client_state

    def _count_round(self, told: int | None) -> int:
        """Return the server's round, or, where it does not tell, the count of fits here."""
        record = self._state.config_records.get(_STATE, ConfigRecord())
        server_round = cast(int, record.get(_TRAINED, 0)) + 1 if told is None else told
        record[_TRAINED] = server_round
        self._state.config_records[_STATE] = record
        return server_round

    def _store(self, local: LocalTask, instruction: FitInstruction) -> ClientStateStore:
        run = self._config
        return ClientStateStore(
            state_folder(self._node_config, run.output_dir, run.resume, instruction.run, local.name)
        )


def _training_metrics(update: LocalUpdate) -> dict[str, Scalar]:
    return {
        TRAIN_MEASURES_KEY: measured.encode(update.sums),
        "update-norm": update.norm,
        "train-seconds": update.seconds,
        LOCAL_STEPS_KEY: update.effective_steps,
    }


def client_fn(context: Context) -> Client:
    """Build the participant that a message is for."""
    config = RunConfig.from_run_config(context.run_config)
    return Participant(config, context.node_config, context.state).to_client()


app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline, secure_aggregation])
