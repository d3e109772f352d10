"""Run the app in a simulation of its own: `python -m scripts.launcher.simulate --help`.

The launcher starts a private SuperLink, submits the run, shows its log, reports how it ended
and leaves no process behind, whichever way it ends. The user's own Flower configuration, and
any SuperLink that runs already, stay untouched.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.launcher.app_bundle import stage_app
from scripts.launcher.flower_lines import failure_reason
from scripts.launcher.options import LaunchPlan, UsageError, as_toml, plan_launch
from scripts.launcher.run_config import working_directory
from scripts.launcher.run_log import RunLog
from scripts.processes.clean_up import clean_up
from scripts.processes.flower_cli import (
    COMPLETED,
    SIMULATION_PROCESS,
    listing_arguments,
    read_outcome,
    run_arguments,
)
from scripts.processes.preloaded_command import go, load_ahead
from scripts.processes.process_tree import adopt_orphans, watch_over
from scripts.processes.ray_head import check_ray, start_ray
from scripts.processes.signals import StopSignals, let_app_save
from scripts.processes.superlink import CONNECTION, Launch, LaunchError, command, start_superlink


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if the run was completed."""
    try:
        plan = plan_launch(sys.argv[1:] if arguments is None else arguments, working_directory())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stop = StopSignals()
    stop.install()
    try:
        launch = Launch.create(plan.ray_address, plan.ray_ahead)
    except OSError as error:
        print(f"error: no temporary folder can be made: {error}", file=sys.stderr)
        return 1
    log = RunLog(stop)
    status, problem = 1, None
    try:
        watch_over(launch.id, launch.folder)
        adopt_orphans()
        status = _run(plan, launch, stop, log)
    except (LaunchError, OSError) as error:  # such as a full disk
        problem = str(error)
    finally:
        keep = status != 0 and not stop.requested()
        clean_up(launch, stop, launch.log if keep else None)
    stop.ignore()
    log.wait()
    log.tell_end(problem, resume="scripts/run")
    return 128 + stop.received[0] if stop.received else status


def _run(plan: LaunchPlan, launch: Launch, stop: StopSignals, log: RunLog) -> int:
    plural = "" if plan.num_supernodes == 1 else "s"
    print(f"Starting a simulation of {plan.num_supernodes} participant{plural}.", flush=True)
    prepared = prepare(plan, launch)
    start_superlink(launch, stop.requested)
    if stop.requested():
        return 1
    process = submit(prepared)
    assert process.stdout is not None
    log.follow(process.stdout)
    while process.poll() is None and not stop.requested():
        check_ray(prepared.ray)
        time.sleep(0.1)
    if stop.requested():
        let_app_save(launch, stop, SIMULATION_PROCESS)
    else:
        log.wait()
        check_outcome(launch, log.run_id)
    return 0


@dataclass(frozen=True)
class Prepared:
    """What has been started for a run beside the SuperLink.

    Attributes:
        flwr: `flwr run`, which waits; its output is the run's log.
        ray: The launch's own Ray, if it has one.
    """

    flwr: "subprocess.Popen[str]"
    ray: "subprocess.Popen[str] | None"


def prepare(plan: LaunchPlan, launch: Launch) -> Prepared:
    """Get ready what a run needs, `flwr run` to be let go by `submit`."""
    # A file carries any text safely.
    config = launch.folder / "run-config.toml"
    config.write_text(as_toml(plan.overrides), encoding="utf-8")
    app = stage_app(plan.app, launch.folder / "app")
    arguments = run_arguments(str(app), CONNECTION, str(config), plan.federation_config)
    ray = start_ray(launch, app, plan.num_workers) if launch.own_ray else None
    process = subprocess.Popen(
        load_ahead("flwr", *arguments, *plan.flwr_arguments),
        env=launch.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # the terminal's Ctrl-C is for us alone to pass on
    )
    return Prepared(process, ray)


def submit(prepared: Prepared) -> "subprocess.Popen[str]":
    """Let `flwr run` go, and return it; the SuperLink is there now."""
    check_ray(prepared.ray)
    go(prepared.flwr)
    return prepared.flwr


def check_outcome(launch: Launch, run_id: str | None) -> None:
    """Raise a `LaunchError` unless the run was completed."""
    if run_id is None:
        raise LaunchError("the run was not accepted; the reason is above")
    listing = subprocess.run(
        [command("flwr"), *listing_arguments(CONNECTION, run_id)],
        env=launch.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60.0,
        start_new_session=True,
    )
    try:
        status, details = read_outcome(listing.stdout)
    except (ValueError, LookupError, TypeError):
        raise LaunchError(f"the SuperLink does not say how run {run_id} ended") from None
    if status != COMPLETED:
        raise LaunchError(f"the run ended as {status}: {failure_reason(details)}")


if __name__ == "__main__":
    sys.exit(main())
