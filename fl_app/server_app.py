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
from fl_app.checkpoint import Checkpoint, Checkpointer, load_checkpoint
from fl_app.config import RunConfig
from fl_app.data import Examples
from fl_app.errors import tell_user_errors_in_a_sentence
from fl_app.models import build_model, get_weights, set_weights
from fl_app.objective import BestModel
from fl_app.paths import new_run_directory, resolve_resume
from fl_app.progress import ProgressLog
from fl_app.protocol import DATASET_KEY, ROUND_KEY
from fl_app.server_data import ServerData, load_server_data
from fl_app.server_settings import stop_settings, workflow_settings
from fl_app.stopping import replay, stop_conditions
from fl_app.summary import Run
from fl_app.training import evaluate, resolve_device
from fl_app.workflow import FederatedWorkflow, RoundHook
from strategies import DeltaFedAvg
from strategies.updates import Arrays

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
    data = load_server_data(config)
    model = build_model(config.model, config.seed)

    earlier = resolve_resume(config.resume)
    resumed = None if earlier is None else load_checkpoint(earlier)
    path = earlier or new_run_directory(config.output_dir, data.name)
    directory = RunDirectory(path, resume=resumed is not None)
    try:
        run = Run(config, data, model, directory)
        _run_rounds(grid, context, run, resumed)
    finally:
        directory.close()


def _run_rounds(grid: Grid, context: Context, run: Run, resumed: Checkpoint | None) -> None:
    """Assemble hooks, strategy and workflow, run, and save whatever comes of it."""
    config, directory = run.config, run.directory
    if resumed is not None:
        run.continue_from(resumed)
    log(INFO, "results: %s", directory.path)
    run.write_start()

    done = None if resumed is None else resumed.server_round
    stops = stop_settings(config)
    conditions = stop_conditions(stops, run.elapsed)
    best = BestModel(stops.objective, run.keep_best)
    ended = replay(directory.reports, conditions, best)
    checkpointer = Checkpointer(directory, run.identity(), run.elapsed, config.checkpoint_every)
    hooks: list[RoundHook] = [directory, best, ProgressLog(config.num_server_rounds)]
    if config.tensorboard:
        hooks.append(_tensorboard(run, first_round=0 if done is None else done + 1))
    hooks += [*conditions, checkpointer]
    workflow = FederatedWorkflow(hooks, workflow_settings(config), done)
    legacy_context = LegacyContext(
        context,
        config=ServerConfig(num_rounds=config.num_server_rounds),
        strategy=build_strategy(config, run.model, run.data, directory.weights),
    )
    reason = ""
    try:
        reason = ended or workflow(grid, legacy_context)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        checkpointer.save()
        run.write_results(reason, best)


def _tensorboard(run: Run, first_round: int) -> RoundHook:
    from fl_app.tensorboard import TensorBoardLog  # takes seconds, and may be off

    path = run.directory.path / "tensorboard"
    return TensorBoardLog(path, run.config.as_run_config(), first_round)


def build_strategy(
    config: RunConfig, model: nn.Module, data: ServerData, weights: Arrays | None = None
) -> DeltaFedAvg:
    """Build the strategy that a run config describes.

    Args:
        config: The run config.
        model: A model with the initial weights.
        data: Its name goes to the participants; its test set, if any, is evaluated on.
        weights: The global weights to start from, if not the model's.
    """
    return DeltaFedAvg(
        seed=config.seed,
        fraction_fit=config.fraction_fit,
        fraction_evaluate=config.fraction_evaluate,
        min_fit_clients=config.min_fit_clients,
        min_evaluate_clients=1,
        min_available_clients=config.min_fit_clients,
        min_updates=config.min_fit_clients,
        over_selection=config.over_selection,
        initial_parameters=ndarrays_to_parameters(weights or get_weights(model)),
        evaluate_fn=None if data.test is None else _evaluation(model, data.test, config.device),
        on_fit_config_fn=lambda server_round: {ROUND_KEY: server_round, DATASET_KEY: data.name},
        on_evaluate_config_fn=lambda _: {DATASET_KEY: data.name},
    )


def _evaluation(
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
