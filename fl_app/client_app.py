"""The participant: a `NumPyClient` in a `ClientApp`."""

from functools import cached_property
from logging import WARNING

from flwr.app import Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, RecordDict, Scalar
from flwr.common.logger import log
from torch import nn

from fl_app.core import metrics as measured
from fl_app.core.node import NodeConfig
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, numpy_generator, training_generator
from fl_app.data.local_data import LocalData
from fl_app.data.tensor_dataset import BatchedExamples
from fl_app.messaging.client_mods import give_up_at_deadline, report_failures
from fl_app.messaging.fit_config import (
    AGREEMENT_KEY,
    DATASET_KEY,
    MEASURES_KEY,
    NUM_EXAMPLES_KEY,
    PARTICIPANT_KEY,
    RECEIVED_EXAMPLES_KEY,
    RECEIVED_MEASURES_KEY,
    STATISTICS_KEY,
    FitInstruction,
    check_same_model,
    count_round,
)
from fl_app.secure_aggregation.client_mod import secure_aggregation
from fl_app.tasks.agreement import Statistics
from fl_app.tasks.client_data import data_name, local_data, name_of_participant, own_source
from fl_app.tasks.model.federated_model import local_tensors, model_spec
from fl_app.tasks.model.parameters import get_weights, load_local, set_weights
from fl_app.tasks.registry import initial_model, task_of
from fl_app.tasks.task import Task
from fl_app.training.attack_simulation import find_attacker
from fl_app.training.client_state import ClientState, ClientStateStore, state_folder
from fl_app.training.local_training import (
    Evaluation,
    LocalUpdate,
    cpu_threads,
    evaluate,
    resolve_device,
    training_metrics,
)
from fl_app.training.settings import pipeline_settings, training_settings
from fl_app.training.statistics_reply import local_statistics, statistics_reply
from fl_app.training.update_pipeline import UpdatePipeline
from strategies.core.client_update import DELTA, UPDATE_KEY, WEIGHTS, Arrays
from strategies.core.state import STATE_LOST_KEY


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
        self._dataset: str | None = None
        self._agreement = ""

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is, and, for secure aggregation, how much it weighs: asked once."""
        self._hear(config)
        properties: dict[str, Scalar] = {PARTICIPANT_KEY: self._name}
        if self._config.secure_aggregation:
            count = self._num_examples()
            private = self._config.privacy != "none"  # then all weigh the same
            properties[NUM_EXAMPLES_KEY] = 1 if private else count
        return properties

    def get_parameters(self, config: dict[str, Scalar]) -> NDArrays:
        """Return the initial weights of the run, for strategies that ask for them."""
        self._hear(config)
        return get_weights(self._model())

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
        self._hear(config)
        if STATISTICS_KEY in config:
            return self._tell_statistics()
        instruction = FitInstruction.from_config(config)
        data = self._data()
        pipeline = self._pipeline(count_round(self._state, instruction.server_round))
        check_same_model(model_spec(pipeline.model), config)
        with cpu_threads(self._config.threads_per_client):
            metrics: dict[str, Scalar] = {PARTICIPANT_KEY: self._name}
            client_state = self._recall(instruction, pipeline.remembers)
            if instruction.evaluates and len(data.test):
                received = pipeline.split(parameters)[0]
                result = self._evaluate(pipeline.model, received, data.test, client_state)
                metrics[RECEIVED_MEASURES_KEY] = measured.encode(result.sums)
                metrics[RECEIVED_EXAMPLES_KEY] = result.num_examples
            update = self._train(
                pipeline, parameters, instruction, client_state or ClientState(), data.train
            )
            if not instruction.wants_delta:
                metrics |= {UPDATE_KEY: WEIGHTS} | training_metrics(update)
                return update.weights, update.num_examples, metrics
            clip_norm = instruction.clip_norm if self._config.privacy == "central" else None
            payload, new_state = pipeline.encode(
                parameters, update, client_state or ClientState(), clip_norm
            )
        if pipeline.remembers:
            keep_from = instruction.state_keep_from
            self._store(instruction).save(pipeline.server_round, new_state, keep_from)
            metrics[STATE_LOST_KEY] = client_state is None
        metrics[UPDATE_KEY] = DELTA
        if pipeline.settings.protection.private:  # nothing else of the training leaves the node
            return payload, 1, metrics
        return payload, update.num_examples, metrics | training_metrics(update)

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the global weights on the participant's own test examples."""
        self._hear(config)
        test = self._data().test
        if len(test) == 0:  # more participants than test examples: has no say in the average
            return 0.0, 0, {}
        with cpu_threads(self._config.threads_per_client):
            model = self._model()
            check_same_model(model_spec(model), config)
            instruction = FitInstruction.from_config(config)
            client_state = self._recall(instruction, bool(local_tensors(model)))
            result = self._evaluate(model, parameters, test, client_state)
        measures = measured.encode(result.sums)
        metrics: dict[str, Scalar] = {PARTICIPANT_KEY: self._name, MEASURES_KEY: measures}
        return result.loss, result.num_examples, metrics

    def _hear(self, told: dict[str, Scalar]) -> None:
        """Take what a message says for all: the data set resolved, and what is agreed on."""
        dataset = told.get(DATASET_KEY)
        self._dataset = None if dataset is None else str(dataset)
        self._agreement = str(told.get(AGREEMENT_KEY, ""))

    @cached_property
    def _name(self) -> str:
        return name_of_participant(self._node_config, self._config, self._dataset)

    @cached_property
    def _task(self) -> Task:
        task = task_of(self._config, data_name(self._config, self._dataset))
        if self._agreement:
            task.take_agreement(self._agreement)
        return task

    def _model(self) -> nn.Module:
        return initial_model(self._task, self._config.seed, self._config.local_parameters)

    def _data(self) -> LocalData[BatchedExamples]:
        return local_data(self._node_config, self._config, self._dataset, self._agreement)

    def _num_examples(self) -> int:
        """Return how many examples there are to train on, also before all is agreed."""
        if self._task.to_agree() is None:
            return len(self._data().train)
        return self._statistics().num_examples

    def _statistics(self) -> Statistics:
        source = own_source(self._node_config, self._config)
        return local_statistics(self._task, source, self._config)

    def _tell_statistics(self) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Tell of the examples what the task asks for before round 1."""
        sums, count, words = statistics_reply(self._statistics(), self._config)
        return sums, count, {**words, PARTICIPANT_KEY: self._name}

    def _pipeline(self, server_round: int) -> UpdatePipeline:
        run, name = self._config, self._name
        return UpdatePipeline(
            server_round=server_round,
            task=self._task,
            model=self._model(),
            training=training_settings(run, server_round),
            settings=pipeline_settings(run),
            generator=training_generator(run.seed, server_round, name),
            codec_generator=numpy_generator(Stream.CODEC, run.seed, server_round, name),
            device=resolve_device(run.device),
        )

    def _train(
        self,
        pipeline: UpdatePipeline,
        parameters: NDArrays,
        instruction: FitInstruction,
        client_state: ClientState,
        examples: BatchedExamples,
    ) -> LocalUpdate:
        """Train, or, in a robustness test, do what the adversary does instead."""

        def honest_delta(partition_id: int) -> Arrays:
            other = dict(self._node_config) | {"partition-id": partition_id}
            participant = Participant(self._config, other, RecordDict())
            participant._dataset = self._dataset
            others = participant._data().train
            return (
                participant._pipeline(pipeline.server_round)
                .train(parameters, others, ClientState())
                .delta
            )

        partition_id = self._node_config.get("partition-id")
        attacker = find_attacker(self._config, partition_id, pipeline.server_round, honest_delta)
        if attacker is None:
            return pipeline.train(parameters, examples, client_state)
        update = pipeline.train(
            parameters, attacker.poisoned(self._task, examples, pipeline.model), client_state
        )
        return attacker.poison_update(update, parameters)

    def _evaluate(
        self,
        model: nn.Module,
        weights: NDArrays,
        examples: BatchedExamples,
        client_state: ClientState | None,
    ) -> Evaluation:
        set_weights(model, weights)
        load_local(model, None if client_state is None else client_state.local)
        return evaluate(self._task, model, examples, resolve_device(self._config.device))

    def _recall(self, instruction: FitInstruction, remembers: bool) -> ClientState | None:
        """Return the state of the round to go on from; `None` if it should be there and is not."""
        if not remembers or instruction.state_round == 0:
            return ClientState()
        client_state = self._store(instruction).load(instruction.state_round)
        if client_state is None:
            line = "the memory of round %s is not there; participant %s begins anew"
            log(WARNING, line, instruction.state_round, self._name)
        return client_state

    def _store(self, instruction: FitInstruction) -> ClientStateStore:
        run = self._config
        return ClientStateStore(
            state_folder(self._node_config, run.output_dir, run.resume, instruction.run, self._name)
        )


def client_fn(context: Context) -> Client:
    """Build the participant that a message is for."""
    config = RunConfig.from_run_config(context.run_config)
    return Participant(config, context.node_config, context.state).to_client()


app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline, secure_aggregation])
