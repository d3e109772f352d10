"""A whole run in a simulation of its own, observed: when each line was logged, and its memory."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.launcher.flower_lines import plain
from scripts.launcher.options import LaunchPlan, plan_launch
from scripts.launcher.run_log import RESULTS
from scripts.launcher.simulate import Prepared, check_outcome, prepare, submit
from scripts.processes.clean_up import clean_up
from scripts.processes.flower_cli import RUN_ID
from scripts.processes.process_tree import adopt_orphans, watch_over
from scripts.processes.ray_head import check_ray
from scripts.processes.signals import StopSignals
from scripts.processes.superlink import Launch, LaunchError, start_superlink

# SuperExec, which has to be loaded, is idle by then.
_SETTLING_SECONDS = 3.0

Observer = Callable[[Launch, float, str], None]
"""Called with every line of the log, the launch it is of, and the seconds since the start."""


@dataclass
class MeasuredRun:
    """What was seen of a run.

    Attributes:
        plan: What was run.
        superlink_seconds: From the start until the SuperLink answered; 0 if it was there.
        seconds: From the start until the run had ended.
        lines: The log, each line with the seconds since the start.
        directory: Where its results are, if it said so.
    """

    plan: LaunchPlan
    superlink_seconds: float = 0.0
    seconds: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list)
    directory: Path | None = None

    def moment(self, text: str) -> float:
        """Return the seconds until the first line that contains a text.

        Raises:
            LaunchError: If there is none.
        """
        for seconds, line in self.lines:
            if text in line:
                return seconds
        raise LaunchError(f"the run's log has no line with {text!r}")


def measured_run(
    arguments: Sequence[str], observe: Observer | None = None, warm: bool = False
) -> MeasuredRun:
    """Run the application as `scripts/run` with these arguments does, and watch it.

    Every process is gone when it returns, whichever way.

    Args:
        arguments: The command line.
        observe: Called while it runs.
        warm: Whether the SuperLink is up and idle before anything else begins, the clock included.

    Raises:
        LaunchError: If the run did not complete.
        KeyboardInterrupt: If it was stopped.
    """
    start = time.monotonic()
    run = MeasuredRun(plan_launch(arguments, Path.cwd()))
    stop = StopSignals()
    stop.install()
    launch = Launch.create(run.plan.ray_address, run.plan.ray_ahead)
    completed = False
    try:
        watch_over(launch.id, launch.folder)
        adopt_orphans()
        if warm:
            start_superlink(launch, stop.requested)
            time.sleep(_SETTLING_SECONDS)
            start = time.monotonic()
        prepared = prepare(run.plan, launch)
        if not warm:
            start_superlink(launch, stop.requested)
            run.superlink_seconds = time.monotonic() - start
        run_id = _follow(run, launch, prepared, stop, start, observe)
        if not stop.requested():
            run.seconds = time.monotonic() - start
            check_outcome(launch, run_id)
            completed = True
    finally:
        keep = not completed and not stop.requested()
        clean_up(launch, stop, launch.log if keep else None)
    if stop.requested():
        raise KeyboardInterrupt
    return run


def _follow(
    run: MeasuredRun,
    launch: Launch,
    prepared: Prepared,
    stop: StopSignals,
    start: float,
    observe: Observer | None,
) -> str | None:
    """Submit the run and read its log until it ends; return the run's id."""
    process = submit(prepared)
    found: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            seconds, text = time.monotonic() - start, plain(line.rstrip())
            run.lines.append((seconds, text))
            found.extend(RUN_ID.findall(text))
            if results := RESULTS.search(text):
                run.directory = Path(results[1])
            if observe is not None:
                observe(launch, seconds, text)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive() and not stop.requested():  # a signal does not end a read
        check_ray(prepared.ray)
        reader.join(0.1)
    return found[0] if found else None
