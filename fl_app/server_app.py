"""The server: builds the parts from the run config and starts the workflow."""

from collections.abc import Callable
from logging import INFO

from flwr.app import Context
from flwr.common import NDArrays, Scalar, ndarrays_to_parameters
from flwr.common.logger import log
from flwr.server import ServerConfig
from flwr.server.compat import LegacyContext
from flwr.serverapp import Grid, ServerApp
from torch import nn

from fl_app.artifacts import RunDirectory
from fl_app.config import RunConfig
from fl_app.data import Dataset, Examples, load_dataset, resolve_dataset
from fl_app.errors import tell_user_errors_in_a_sentence
from fl_app.models import build_model, get_weights, set_weights
from fl_app.partition import partition_indices
from fl_app.paths import new_run_directory, resolve_data_dir
from fl_app.progress import ProgressLog
from fl_app.protocol import DATASET_KEY, ROUND_KEY
from fl_app.summary import Run
from fl_app.training import evaluate, resolve_device
from fl_app.workflow import FederatedWorkflow
from strategies import DeltaFedAvg

tell_user_errors_in_a_sentence()
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one experiment: the entry point that Flower calls.

    Raises:
        UserError: If the run config, the data or the output directory has to be put right,
            or participants stay away. What has been computed by then is saved.
    """
    config = RunConfig.from_run_config(context.run_config)
    data_dir = resolve_data_dir(config.data_dir)
    dataset = load_dataset(resolve_dataset(config.dataset, data_dir), data_dir)
    model = build_model(config.model, config.seed)
    parts = partition_indices(dataset.train.labels.numpy(), config.partition_spec())

    directory = RunDirectory(new_run_directory(config.output_dir, dataset.name))
    log(INFO, "results: %s", directory.path)
    run = Run(config, dataset, model, parts, directory)
    run.write_start()

    workflow = FederatedWorkflow(
        hooks=[directory, ProgressLog(config.num_server_rounds)],
        num_participants=config.num_participants,
    )
    legacy_context = LegacyContext(
        context,
        config=ServerConfig(num_rounds=config.num_server_rounds),
        strategy=build_strategy(config, model, dataset),
    )
    reason = "the run was interrupted"
    try:
        reason = workflow(grid, legacy_context)
    except Exception as error:
        reason = str(error)
        raise
    finally:
        run.write_results(reason)


def build_strategy(config: RunConfig, model: nn.Module, dataset: Dataset) -> DeltaFedAvg:
    """Build the strategy that a run config describes.

    Args:
        config: The run config.
        model: A model with the initial weights.
        dataset: Its name goes to the participants, its test set is the server's own.
    """
    return DeltaFedAvg(
        seed=config.seed,
        fraction_fit=config.fraction_fit,
        fraction_evaluate=config.fraction_evaluate,
        min_fit_clients=config.min_fit_clients,
        min_evaluate_clients=1,
        min_available_clients=config.min_fit_clients,
        initial_parameters=ndarrays_to_parameters(get_weights(model)),
        evaluate_fn=_central_evaluation(model, dataset.test, config.device),
        on_fit_config_fn=lambda server_round: {ROUND_KEY: server_round, DATASET_KEY: dataset.name},
        on_evaluate_config_fn=lambda _: {DATASET_KEY: dataset.name},
    )


def _central_evaluation(
    model: nn.Module, test: Examples, device: str
) -> Callable[[int, NDArrays, dict[str, Scalar]], tuple[float, dict[str, Scalar]]]:
    resolved = resolve_device(device)

    def evaluate_weights(
        server_round: int, weights: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, dict[str, Scalar]]:
        set_weights(model, weights)
        result = evaluate(model, test, resolved)
        return result.loss, {"accuracy": result.accuracy, "num-examples": result.num_examples}

    return evaluate_weights
