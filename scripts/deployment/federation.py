"""A federation over TLS, as processes of its own: `python -m scripts.deployment.federation --help`.

One command makes certificates and keys, starts a SuperLink and SuperNodes, runs the app,
shows its log, reports how it ended and leaves no process behind, whichever way it ends.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from scripts.deployment import commands as commands
from scripts.deployment.cluster import LOGS, Federation
from scripts.deployment.key_material import CertificateError
from scripts.deployment.plan import FederationPlan, Node, plan_federation
from scripts.deployment.state import folder_for, locked
from scripts.launcher.app_bundle import stage_app
from scripts.launcher.flower_lines import failure_reason
from scripts.launcher.run_config import UsageError, as_toml, working_directory
from scripts.launcher.run_log import RunLog
from scripts.processes.clean_up import clean_up
from scripts.processes.flower_cli import (
    COMPLETED,
    SERVER_APP_PROCESS,
    listing_arguments,
    read_outcome,
)
from scripts.processes.process_tree import adopt_orphans, watch_over
from scripts.processes.signals import StopSignals, let_app_save
from scripts.processes.superlink import Launch, LaunchError

_LIST_SECONDS = 60.0
_RESTART_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 only if the run was completed."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        plan = plan_federation(given, working_directory())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if plan.only_print:
        print(commands.operator_script(plan), end="")
        return 0
    stop = StopSignals()
    stop.install()
    try:
        launch = Launch.create()
    except OSError as error:
        print(f"error: no temporary folder can be made: {error}", file=sys.stderr)
        return 1
    log = RunLog(stop)
    status, problem = 1, None
    try:
        watch_over(launch.id, launch.folder)
        adopt_orphans()
        status = _run(plan, launch, stop, log)
    except (LaunchError, CertificateError, OSError) as error:  # such as a full disk
        problem = str(error)
    finally:
        failed = status != 0 or log.node_failed
        logs = launch.folder / LOGS if failed and not stop.requested() else None
        clean_up(launch, stop, logs)
    stop.ignore()
    log.wait()
    log.tell_end(problem, resume="the same command with")
    return 128 + stop.received[0] if stop.received else status


def submit(federation: Federation, plan: FederationPlan) -> "subprocess.Popen[str]":
    """Bundle the app and submit a run; the process shows its log until it ends."""
    folder = federation.launch.folder
    config = folder / "run-config.toml"
    config.write_text(as_toml(plan.overrides), encoding="utf-8")
    app = stage_app(plan.app, folder / "app")
    return federation.flwr(*commands.run(app, config, plan.flwr_arguments))


def outcome(federation: Federation, run_id: str) -> tuple[str, str]:
    """Return a run's status and its details, as the SuperLink has them.

    Raises:
        LaunchError: If the SuperLink does not say.
    """
    process = federation.flwr("flwr", *listing_arguments(commands.CONNECTION, run_id))
    try:
        return read_outcome(process.communicate(timeout=_LIST_SECONDS)[0])
    except (ValueError, LookupError, TypeError, subprocess.TimeoutExpired):
        raise LaunchError(f"the SuperLink does not say how run {run_id} ended") from None


def _run(plan: FederationPlan, launch: Launch, stop: StopSignals, log: RunLog) -> int:
    state = folder_for(launch, plan.state)
    with ExitStack() as stack:
        stack.enter_context(locked(state))
        print(f"Starting a SuperLink and {len(plan.nodes)} SuperNodes.", flush=True)
        federation = Federation(launch, state, plan.hosts)
        federation.start_superlink(stop.requested)
        if stop.requested():
            return 1
        federation.register(plan.nodes)
        for node in plan.nodes:
            federation.start_node(node)
        print(f"SuperLink on {federation.address}, {len(plan.nodes)} SuperNodes", flush=True)
        return _follow(federation, plan, stop, log)


def _follow(federation: Federation, plan: FederationPlan, stop: StopSignals, log: RunLog) -> int:
    """Submit the run, pass its log on and see how it ends."""
    process = submit(federation, plan)
    assert process.stdout is not None
    log.follow(process.stdout)
    caretaker = Caretaker(federation, plan.nodes)
    while process.poll() is None and not stop.requested():
        caretaker.look()
        time.sleep(0.1)
    if stop.requested():
        let_app_save(federation.launch, stop, SERVER_APP_PROCESS)
    else:
        log.wait()
        _check_outcome(federation, log)
    return 0


class Caretaker:
    """Starts SuperNodes again that have ended, as systemd does on real hosts.

    Flower refuses a node for up to a minute after its predecessor was killed.
    """

    def __init__(self, federation: Federation, nodes: Sequence[Node]) -> None:
        self._federation = federation
        self._nodes = nodes
        self._next_start: dict[str, float] = {}

    def look(self) -> None:
        """Look at all processes once.

        Raises:
            LaunchError: If the SuperLink has ended: without it, nothing goes on.
        """
        federation = self._federation
        for node in self._nodes:
            if federation.nodes[node.name].poll() is not None:
                self._attend_to(node)
        if federation.superlink is not None and federation.superlink.poll() is not None:
            words = federation.last_words("superlink")
            print(f"The end of the SuperLink's log:\n{words}", file=sys.stderr, flush=True)
            raise LaunchError("the SuperLink has ended; --resume continues the run")

    def _attend_to(self, node: Node) -> None:
        now = time.monotonic()
        if node.name not in self._next_start:
            words = self._federation.last_words(node.name)
            print(
                f"warning: SuperNode {node.name} has ended, and is started again every "
                f"{_RESTART_SECONDS:.0f} s. The end of its log:\n{words}",
                file=sys.stderr,
                flush=True,
            )
            self._next_start[node.name] = now + _RESTART_SECONDS
        elif now >= self._next_start[node.name]:
            self._federation.start_node(node)
            self._next_start[node.name] = now + _RESTART_SECONDS


def _check_outcome(federation: Federation, log: RunLog) -> None:
    """Raise a `LaunchError` unless the run was completed."""
    if log.run_id is None:
        raise LaunchError("the run was not accepted; the reason is above")
    status, details = outcome(federation, log.run_id)
    if status != COMPLETED:
        raise LaunchError(f"the run ended as {status}: {failure_reason(details)}")


if __name__ == "__main__":
    sys.exit(main())
