"""From the command line to a checked launch plan, before anything is started."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.launcher.run_config import (
    UsageError,
    Value,
    add_run_options,
    as_toml,
    positive,
    settle_run_config,
)
from scripts.processes.flower_cli import INIT_ARGS

__all__ = ["LaunchPlan", "UsageError", "Value", "as_toml", "plan_launch"]


@dataclass(frozen=True)
class LaunchPlan:
    """Everything that a launch needs.

    Attributes:
        app: Folder of the Flower app.
        overrides: Run-config keys that differ from the app's defaults; paths are absolute.
        num_supernodes: Simulated participants.
        cpus_per_client: CPU cores reserved for each client at work.
        gpus_per_client: GPUs, or a share of one, reserved for each client at work.
        ray_address: The Ray cluster to compute on; "local" starts one on this machine.
        flwr_arguments: Further arguments for `flwr run`.
    """

    app: Path
    overrides: Mapping[str, Value]
    num_supernodes: int
    cpus_per_client: int
    gpus_per_client: float
    ray_address: str = "local"
    flwr_arguments: tuple[str, ...] = ()

    @property
    def ray_ahead(self) -> bool:
        """Whether Ray can be started ahead of Flower: only on this machine, and as it comes."""
        as_it_comes = not any(INIT_ARGS in argument for argument in self.flwr_arguments)
        return self.ray_address == "local" and as_it_comes

    @property
    def num_workers(self) -> int:
        """How many of this machine's clients are at work at a time."""
        return max(1, (os.cpu_count() or 1) // self.cpus_per_client)

    @property
    def federation_config(self) -> str:
        """The simulation's size and resources as `flwr run --federation-config` wants them."""
        return (
            f"num-supernodes={self.num_supernodes} "
            f"client-resources-num-cpus={self.cpus_per_client} "
            f"client-resources-num-gpus={self.gpus_per_client}"
        )


def plan_launch(arguments: Sequence[str], cwd: Path) -> LaunchPlan:
    """Read and check the command line.

    Later wins: the app's defaults, the preset, `--run-config` in the order given, and then
    the options with a name of their own.

    Args:
        arguments: Command line without the program's name.
        cwd: Folder against which relative paths are resolved.

    Raises:
        UsageError: If the configuration is not valid.
        SystemExit: From argparse, on `--help` and on malformed options.
    """
    options, rest = _parser().parse_known_args(arguments)
    app, overrides, fused = settle_run_config(options, cwd)
    if fused.get("dataset") == "own":
        raise UsageError(
            "dataset = 'own' is for participants with a name and data of their own, and simulated "
            "ones have neither; use scripts/federation --node NAME=DATA, or another data set"
        )
    cores = os.cpu_count() or 1
    if options.ray_address == "local" and options.cpus_per_client > cores:
        raise UsageError(
            f"--cpus-per-client {options.cpus_per_client} is more than this machine's {cores} cores"
        )
    return LaunchPlan(
        app=app,
        overrides=overrides,
        num_supernodes=int(fused.get("num-participants", 2)),
        cpus_per_client=options.cpus_per_client,
        gpus_per_client=options.gpus_per_client,
        ray_address=options.ray_address,
        flwr_arguments=tuple(rest),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/run",
        description="Train with federated averaging, simulated on this machine.",
        epilog="Any further option goes to `flwr run`. Example: "
        "scripts/run --participants 5 -c 'num-server-rounds=5 learning-rate=0.05'",
        allow_abbrev=False,
    )
    add_run_options(parser)
    add = parser.add_argument
    add(
        "--cpus-per-client",
        type=positive,
        default=1,
        metavar="C",
        help="CPU cores per client at work; fewer means more clients at once (default: 1)",
    )
    add(
        "--gpus-per-client",
        type=_share,
        default=0.0,
        metavar="G",
        help="GPUs per client at work, or a share of one such as 0.25 (default: 0)",
    )
    add(
        "--ray-address",
        default="local",
        metavar="HOST:PORT",
        help="compute on a Ray cluster that runs already, of several machines: see "
        "docs/cluster.md (default: on this machine alone)",
    )
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return value
