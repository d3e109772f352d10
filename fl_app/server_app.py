"""The server: builds the parts from the run config and starts the workflow."""

from dataclasses import replace
from functools import partial
from logging import INFO, WARNING

from flwr.app import Context
from flwr.common.logger import log
from flwr.server import ServerConfig
from flwr.server.strategy import Strategy
from flwr.serverapp import Grid, ServerApp

from fl_app.callbacks.best_model import BestModel
from fl_app.callbacks.checkpoint import (
    Checkpoint,
    Checkpointer,
    check_identity,
    load_checkpoint,
    restore_strategy,
)
from fl_app.callbacks.early_stopping import replay, stop_conditions
from fl_app.callbacks.progress import ProgressLog
from fl_app.core.errors import ConfigError, tell_user_errors_in_a_sentence
from fl_app.core.paths import new_run_directory, resolve_resume
from fl_app.core.plugins import OWN_DATA
from fl_app.core.run_config import RunConfig
from fl_app.experiment.compatibility import check_compatibility
from fl_app.experiment.effects import (
    central_score_of_local_parameters,
    settings_without_effect,
)
from fl_app.experiment.run import AGREEMENT, Run
from fl_app.experiment.settings import stop_settings, workflow_settings
from fl_app.experiment.strategy import build_strategy, server_state
from fl_app.messaging.flower_compat import LegacyContext, is_simulated
from fl_app.privacy.run_privacy import Privacy
from fl_app.results.run_directory import RunDirectory
from fl_app.rounds.agreement import ask_participants, check_agreement
from fl_app.rounds.round_loop import FederatedWorkflow, RoundHook
from fl_app.tasks.model.federated_model import model_spec
from fl_app.tasks.registry import initial_model
from fl_app.tasks.server_data import ServerData, check_model_fits, load_server_data
from fl_app.tasks.task import all_metrics

tell_user_errors_in_a_sentence()
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one experiment: the entry point that Flower calls.

    Raises:
        UserError: If the run config, the data or the output directory has to be put right,
            or participants stay away. What has been computed by then is saved. Likewise if no
            round changed the model, or a file of the results is not where it should be.
    """
    config = RunConfig.from_run_config(context.run_config)
    check_compatibility(config)
    _refuse_simulated_own_data(grid, config)
    data = load_server_data(config)
    earlier = resolve_resume(config.resume)
    resumed = None if earlier is None else load_checkpoint(earlier)
    data = _agreed(grid, config, data, resumed)
    check_model_fits(config, data)
    model = initial_model(data.task, config.seed, config.local_parameters)
    path = earlier or new_run_directory(config.output_dir, data.name)
    directory = RunDirectory(path, resume=resumed is not None)
    try:
        run = Run(config, data, model, directory)
        _run_rounds(grid, context, run, resumed)
    finally:
        directory.close()


def _refuse_simulated_own_data(grid: Grid, config: RunConfig) -> None:
    """Refuse to wait for participants with names and data: simulated ones have neither."""
    if config.dataset == OWN_DATA and is_simulated(grid):
        raise ConfigError(
            "run config: dataset = 'own' is for participants that are started with a name and "
            "data of their own, which simulated ones are not; run scripts/federation with --node "
            "NAME=DATA, or choose another data set"
        )


def _agreed(
    grid: Grid, config: RunConfig, data: ServerData, resumed: Checkpoint | None
) -> ServerData:
    """Let participants agree on what the task needs to know; a resumed run knows it."""
    if data.task.to_agree() is None:
        return data
    check_agreement(config, data.task)
    agreement = "" if resumed is None else str(resumed.identity.get(AGREEMENT, ""))
    if resumed is not None and agreement:
        check_identity(resumed, {**resumed.identity, "task": config.task})
        data.task.take_agreement(agreement)
    else:
        agreement = ask_participants(grid, data.task, config, data.name)
    return replace(data, agreement=agreement, metadata=data.task.metadata())


def _run_rounds(grid: Grid, context: Context, run: Run, resumed: Checkpoint | None) -> None:
    """Assemble hooks, strategy and workflow, run, and save whatever comes of it."""
    config, directory = run.config, run.directory
    if resumed is not None:
        run.continue_from(resumed)
    log(INFO, "results: %s", directory.path)
    run.write_start()
    has_test = run.data.test is not None
    for line in (
        *settings_without_effect(config),
        *central_score_of_local_parameters(config, run.model, has_test),
    ):
        log(WARNING, "%s", line)

    stops = stop_settings(config, all_metrics(run.data.task))
    conditions = stop_conditions(stops, run.elapsed)
    best = BestModel(stops.objective, run.models.keep_best)
    ended = replay(directory.reports, conditions, best)
    if resumed is not None:
        run.models.settle_best(best.best_round)
    strategy = _strategy(run, resumed)
    state = server_state(strategy)
    directory.follow(state)
    saved = (lambda: None) if state is None else state.checkpoint_saved
    checkpointer = Checkpointer(
        directory, run.identity(), run.elapsed, config.checkpoint_every, saved
    )
    done = None if resumed is None else resumed.server_round
    hooks = [directory, best, *_reporting(run, done), *conditions, checkpointer]
    workflow = FederatedWorkflow(hooks, workflow_settings(config, run.data), done)
    legacy_context = LegacyContext(
        context,
        config=ServerConfig(num_rounds=config.num_server_rounds),
        strategy=strategy,
    )
    reason = ""
    try:
        reason = run.ended_by(ended or workflow(grid, legacy_context))
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        checkpointer.save()
        run.write_results(reason, best)
    run.check_outcome(reason)


def _strategy(run: Run, resumed: Checkpoint | None) -> Strategy:
    """Build the strategy; with privacy, and with what it remembered, where there is any."""
    config, directory = run.config, run.directory
    run.privacy = Privacy.open(config, directory.path, directory.reports, resumed is not None)
    private_mean = None
    if run.privacy is not None:
        run.privacy.announce(model_spec(run.model))
        private_mean = run.privacy.mean
    strategy = build_strategy(
        config, run.model, run.data, directory.path.name, directory.weights, private_mean
    )
    if resumed is not None:
        restore_strategy(server_state(strategy), resumed)
    return strategy


def _reporting(run: Run, done: int | None) -> list[RoundHook]:
    """Return the hooks that tell the user how the run goes; `done` is the last round so far."""
    budget = None if run.privacy is None else run.privacy.budget
    metrics = all_metrics(run.data.task)
    hooks: list[RoundHook] = [ProgressLog(run.config.num_server_rounds, metrics, budget)]
    if run.config.tensorboard:
        hooks.append(_tensorboard(run, first_round=0 if done is None else done + 1))
    return hooks


def _tensorboard(run: Run, first_round: int) -> RoundHook:
    from fl_app.callbacks.tensorboard import TensorBoardLog  # takes seconds, and may be off

    name = "tensorboard"
    gave_up = partial(run.directory.gave_up, name)
    path = run.directory.path / name
    metrics = list(all_metrics(run.data.task))
    return TensorBoardLog(path, run.config.as_run_config(), metrics, first_round, gave_up)
