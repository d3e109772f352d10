"""The participant: a `NumPyClient` in a `ClientApp`."""

from dataclasses import replace

from flwr.app import Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, RecordDict, Scalar
from torch import nn

from fl_app.core import metrics as measured
from fl_app.core.node import NodeConfig, participant_name
from fl_app.core.run_config import RunConfig
from fl_app.core.seeding import Stream, numpy_generator, training_generator
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
from fl_app.tasks.client_data import LocalTask
from fl_app.tasks.model.federated_model import local_tensors, model_spec, narrow_flags
from fl_app.tasks.model.parameters import get_weights, load_local, set_weights
from fl_app.training.attack_simulation import find_attacker
from fl_app.training.client_state import ClientState, ClientStateStore, state_folder
from fl_app.training.local.local_training import (
    Evaluation,
    LocalUpdate,
    cpu_threads,
    evaluate,
    resolve_device,
    training_metrics,
)
from fl_app.training.settings import pipeline_settings, training_settings, wire_codec
from fl_app.training.statistics_reply import local_statistics, statistics_reply
from fl_app.training.update_pipeline import UpdatePipeline
from strategies.core.bfloat16 import as_received
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
        self._local = LocalTask(config, node_config)
        participant_name(node_config, config)  # refused at once where it says nothing

    def get_properties(self, config: dict[str, Scalar]) -> dict[str, Scalar]:
        """Say who this is, and, for secure aggregation, how much it weighs: asked once."""
        self._hear(config)
        properties: dict[str, Scalar] = {PARTICIPANT_KEY: self._local.name}
        if self._config.secure_aggregation:
            count = self._num_examples()
            private = self._config.privacy != "none"  # then all weigh the same
            properties[NUM_EXAMPLES_KEY] = 1 if private else count
        return properties

    def get_parameters(self, config: dict[str, Scalar]) -> NDArrays:
        """Return the initial weights of the run, for strategies that ask for them."""
        self._hear(config)
        return get_weights(self._local.model())

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
            return statistics_reply(local_statistics(self._local), self._local)
        instruction = FitInstruction.from_config(config)
        data = self._local.data()
        pipeline = self._pipeline(self._local, count_round(self._state, instruction.server_round))
        spec = model_spec(pipeline.model)
        check_same_model(spec, config)
        parameters = as_received(parameters, spec.narrow)
        with cpu_threads(self._config.threads_per_client):
            metrics: dict[str, Scalar] = {PARTICIPANT_KEY: self._local.name}
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
        test = self._local.data().test
        if len(test) == 0:  # more participants than test examples: has no say in the average
            return 0.0, 0, {}
        with cpu_threads(self._config.threads_per_client):
            model = self._local.model()
            spec = model_spec(model)
            check_same_model(spec, config)
            parameters = as_received(parameters, spec.narrow)
            instruction = FitInstruction.from_config(config)
            client_state = self._recall(instruction, bool(local_tensors(model)))
            result = self._evaluate(model, parameters, test, client_state)
        measures = measured.encode(result.sums)
        metrics: dict[str, Scalar] = {PARTICIPANT_KEY: self._local.name, MEASURES_KEY: measures}
        return result.loss, result.num_examples, metrics

    def _hear(self, told: dict[str, Scalar]) -> None:
        """Take what a message says for all: the data set resolved, and what is agreed on."""
        dataset = told.get(DATASET_KEY)
        self._local = LocalTask(
            self._config,
            self._node_config,
            None if dataset is None else str(dataset),
            str(told.get(AGREEMENT_KEY, "")),
        )

    def _num_examples(self) -> int:
        """Return how many examples there are to train on, also before all is agreed."""
        if self._local.task.to_agree() is None:
            return len(self._local.data().train)
        return local_statistics(self._local).num_examples

    def _pipeline(self, local: LocalTask, server_round: int) -> UpdatePipeline:
        run, name, model = self._config, local.name, local.model()
        settings = replace(pipeline_settings(run), codec=wire_codec(run, narrow_flags(model)))
        return UpdatePipeline(
            server_round=server_round,
            task=local.task,
            model=model,
            training=training_settings(run, server_round),
            settings=settings,
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
            local = replace(self._local, node_config=other)
            honest = self._pipeline(local, pipeline.server_round)
            return honest.train(parameters, local.data().train, ClientState()).delta

        partition_id = self._node_config.get("partition-id")
        attacker = find_attacker(self._config, partition_id, pipeline.server_round, honest_delta)
        if attacker is None:
            return pipeline.train(parameters, examples, client_state)
        update = pipeline.train(
            parameters, attacker.poisoned(self._local.task, examples, pipeline.model), client_state
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
        return evaluate(self._local.task, model, examples, resolve_device(self._config.device))

    def _recall(self, instruction: FitInstruction, remembers: bool) -> ClientState | None:
        """Return the state of the round to go on from; `None` if it should be there and is not."""
        if not remembers or instruction.state_round == 0:
            return ClientState()
        return self._store(instruction).recall(instruction.state_round, self._local.name)

    def _store(self, instruction: FitInstruction) -> ClientStateStore:
        run = self._config
        return ClientStateStore(
            state_folder(
                self._node_config, run.output_dir, run.resume, instruction.run, self._local.name
            )
        )


def client_fn(context: Context) -> Client:
    """Build the participant that a message is for."""
    config = RunConfig.from_run_config(context.run_config)
    return Participant(config, context.node_config, context.state).to_client()


app = ClientApp(client_fn, mods=[report_failures, give_up_at_deadline, secure_aggregation])
