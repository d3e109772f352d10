"""Run the app in a simulation of its own: `python -m scripts.simulate --help`.

The launcher starts a private SuperLink, submits the run, shows its log, reports how it ended
and leaves no process behind, whichever way it ends. The user's own Flower configuration, and
any SuperLink that runs already, stay untouched.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from scripts.app_staging import stage_app
from scripts.display import Display
from scripts.flower_when_told import go, load_ahead
from scripts.launch_options import LaunchPlan, UsageError, as_toml, plan_launch
from scripts.local_superlink import CONNECTION, Launch, LaunchError, command, start_superlink
from scripts.own_ray import check_ray, start_ray
from scripts.processes import (
    adopt_orphans,
    end_processes,
    find_processes,
    reap_children,
    send,
    watch_over,
)

_SAVING_SECONDS = 5.0
ANSI = re.compile(r"\x1b\[[0-9;]*m")
RUN_ID = re.compile(r"Successfully started run (\d+)")
RESULTS = re.compile(r"\bresults: (/.*\S)")


class StopSignals:
    """Counts the signals that ask the launcher to end.

    The handler only takes note, and every wait looks here: an exception out of a handler could
    strike in the middle of the clean-up.
    """

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []

    def install(self) -> None:
        """Take over the signals, but for those that the user had us ignore (nohup)."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._note)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.received.append(signal.Signals(signum))
        # write, not print: a handler may strike inside a print.
        if len(self.received) == 1:
            os.write(2, b"\nStopping; once more to stop at once.\n")

    def ignore(self) -> None:
        """Ignore them from now on: Python's own ending would let them kill us again."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_IGN)

    def requested(self) -> bool:
        """Whether to end."""
        return bool(self.received)

    def repeated(self) -> bool:
        """Whether to end without further delay."""
        return len(self.received) > 1


class RunLog(threading.Thread):
    """Passes a run's log on to the user, and picks out what the launcher needs to know."""

    def __init__(self, stream: IO[str], stop: StopSignals) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._display = Display()
        self._stop_signals = stop
        self.run_id: str | None = None
        self.results: Path | None = None

    def run(self) -> None:
        """Copy line by line until the stream ends."""
        with self._display:
            self._copy()

    def _copy(self) -> None:
        for line in self._stream:
            plain = ANSI.sub("", line)
            if found := RUN_ID.search(plain):
                self.run_id = found[1]
            if found := RESULTS.search(plain):
                self.results = Path(found[1])
            try:
                self._display.show(line)
            except OSError:  # nobody reads our output any more
                self._stop_signals.received.append(signal.SIGPIPE)
                return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if the run was completed."""
    try:
        plan = plan_launch(sys.argv[1:] if arguments is None else arguments, Path.cwd())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stop = StopSignals()
    stop.install()
    launch = Launch.create(plan.ray_address, plan.ray_ahead)
    status = 1
    try:
        watch_over(launch.id, launch.folder)
        adopt_orphans()
        status = _run(plan, launch, stop)
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
    finally:
        clean_up(launch, stop, keep_log=status != 0 and not stop.requested())
    stop.ignore()
    return 128 + stop.received[0] if stop.received else status


def _run(plan: LaunchPlan, launch: Launch, stop: StopSignals) -> int:
    prepared = prepare(plan, launch)
    start_superlink(launch, stop.requested)
    if stop.requested():
        return 1
    process = submit(prepared)
    assert process.stdout is not None
    log = RunLog(process.stdout, stop)
    log.start()
    while process.poll() is None and not stop.requested():
        check_ray(prepared.ray)
        time.sleep(0.1)
    if stop.requested():
        let_app_save(launch, stop, "flwr-simulation")
    else:
        log.join(timeout=5.0)
        check_outcome(launch, log.run_id)
    if log.results is not None:
        if stop.requested():
            print(f"To continue: scripts/run --resume {log.results}", flush=True)
        print(f"Results: {log.results}", flush=True)
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
    # A file carries any text safely; Flower takes either one file or pairs, never both.
    config = launch.folder / "run-config.toml"
    config.write_text(as_toml(plan.overrides), encoding="utf-8")
    app = stage_app(plan.app, launch.folder / "app")
    arguments = load_ahead("flwr", "run", str(app), CONNECTION, "--stream")
    arguments += ["--federation-config", plan.federation_config, "--run-config", str(config)]
    ray = start_ray(launch, app, plan.num_workers) if launch.own_ray else None
    process = subprocess.Popen(
        [*arguments, *plan.flwr_arguments],
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


def let_app_save(launch: Launch, stop: StopSignals, app: str) -> None:
    """Ask the server's app to end and give it a moment, with all that it needs still there.

    Args:
        launch: Whose processes to look among.
        stop: Cuts the moment short when it is asked for once more.
        app: The command that runs the server's app.
    """
    deadline = time.monotonic() + _SAVING_SECONDS
    told = False
    while time.monotonic() < deadline and not stop.repeated():
        apps = [
            process for process in find_processes(launch.id, os.getpid()) if app in process.command
        ]
        if not apps:
            return
        if not told:
            send(apps, signal.SIGINT)
            told = True
        time.sleep(0.1)


def check_outcome(launch: Launch, run_id: str | None) -> None:
    """Raise a `LaunchError` unless the run was completed."""
    if run_id is None:
        raise LaunchError("the run was not accepted; the reason is above")
    listing = subprocess.run(
        [command("flwr"), "list", CONNECTION, "--run-id", run_id, "--format", "json"],
        env=launch.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60.0,
        start_new_session=True,
    )
    try:
        run = json.loads(listing.stdout)["runs"][0]
        status, details = run["status"], run.get("status-details", "")
    except (ValueError, LookupError, TypeError):
        raise LaunchError(f"the SuperLink does not say how run {run_id} ended") from None
    if status != "finished:completed":
        raise LaunchError(f"the run ended as {status}: {details}")


def clean_up(launch: Launch, stop: StopSignals, keep_log: bool) -> None:
    """End what is left of a launch, and remove its folder; its log is kept if asked for."""
    left = end_processes(launch.id, os.getpid(), hurry=stop.repeated)
    reap_children()
    log = launch.rescue_log() if keep_log else None
    launch.remove()
    if log is not None:
        print(f"The SuperLink's log is {log}", file=sys.stderr)
    if left:
        pids = " ".join(str(process.pid) for process in left)
        print(f"error: these processes would not end: {pids}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
