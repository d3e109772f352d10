"""Where a participant's memory lies between rounds: files of its own, by round.

Flower's own `context.state` lives as long as one run of one SuperNode. A run that was killed and
resumes is another run for Flower, so what has to survive lies in files, a version for each round
that the server may still go back to; see `strategies.core.state`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common.logger import log
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fl_app.core.atomic_io import write_atomically
from fl_app.core.errors import UserError
from fl_app.core.node import NodeConfig
from fl_app.core.paths import resolve_output_dir, resolve_resume, resolve_state_dir
from strategies.core.client_update import Arrays

_ROUND_NAME = re.compile(r"round-(\d+)\.safetensors")


_CONTROL = "control/"


_RESIDUAL = "residual/"


_LOCAL = "local/"


@dataclass(frozen=True)
class ClientState:
    """What a participant takes from one round that it is in to the next.

    Attributes:
        control: SCAFFOLD's `c_i`, one array per travelling tensor; `None` is 0.
        residual: What the codec has dropped so far, likewise; `None` is 0.
        local: The parameters and statistics that do not travel, one array each; `None` are those
            of a freshly built model.
    """

    control: Arrays | None = None
    residual: Arrays | None = None
    local: Arrays | None = None

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as named arrays, for a file."""
        named: dict[str, NDArray[Any]] = {}
        parts = ((_CONTROL, self.control), (_RESIDUAL, self.residual), (_LOCAL, self.local))
        for prefix, arrays in parts:
            named |= {f"{prefix}{index:06d}": array for index, array in enumerate(arrays or [])}
        return named

    @classmethod
    def from_arrays(cls, named: Mapping[str, NDArray[Any]]) -> "ClientState":
        """Undo `as_arrays`."""

        def starting_with(prefix: str) -> Arrays | None:
            return [named[name] for name in sorted(named) if name.startswith(prefix)] or None

        return cls(*map(starting_with, (_CONTROL, _RESIDUAL, _LOCAL)))


class StateError(UserError):
    """A participant's state that cannot be written."""


class ClientStateStore:
    """The states of one participant in one run, a file per round."""

    def __init__(self, folder: Path) -> None:
        """Name the folder, which need not be there yet; see `state_folder`."""
        self._folder = folder

    def load(self, server_round: int) -> ClientState | None:
        """Return the memory saved in a round; `None` if there is none that can be read."""
        try:
            return ClientState.from_arrays(load_file(self._path(server_round)))
        except (OSError, SafetensorError):
            return None

    def recall(self, server_round: int, participant: str) -> ClientState | None:
        """Return what should be there of a round; that it is not is logged."""
        memory = self.load(server_round)
        if memory is None:
            line = "the memory of round %s is not there; participant %s begins anew"
            log(WARNING, line, server_round, participant)
        return memory

    def save(self, server_round: int, memory: ClientState, keep_from: int) -> None:
        """Save the memory of a round, and forget those of rounds before `keep_from`.

        Raises:
            StateError: If it cannot be written.
        """
        arrays = memory.as_arrays()
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(server_round), save(contiguous))
            for path in self._folder.iterdir():
                found = _ROUND_NAME.fullmatch(path.name)
                if found and int(found[1]) < keep_from:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(
                f"the participant's state cannot be written to {self._folder}: {error.strerror}; "
                "make room, or set state-dir in the node config to a folder that can be written"
            ) from error

    def _path(self, server_round: int) -> Path:
        return self._folder / f"round-{server_round:06d}.safetensors"


def state_folder(
    node_config: NodeConfig, output_dir: str, resume: str, run: str, participant: str
) -> Path:
    """Return where a participant keeps its memory of a run.

    That is the node config's `state-dir`; for a node that declares a name a folder in its
    user's home; and in simulation the run directory, `participants/`.

    Args:
        node_config: Of the participant's node.
        output_dir: The run config's output-dir.
        resume: The run config's resume.
        run: The name of the run.
        participant: The name of the participant.

    Raises:
        ConfigError: If a path is relative.
    """
    # Names come from elsewhere and may be no file names.
    run_name, own_name = _file_name(run), _file_name(participant)
    if "state-dir" in node_config or "name" in node_config:
        return resolve_state_dir(str(node_config.get("state-dir", ""))) / run_name / own_name
    run_directory = resolve_resume(resume) or resolve_output_dir(output_dir) / run_name
    return run_directory / "participants" / own_name


def _file_name(name: str) -> str:
    if re.fullmatch(r"[\w-][\w.-]{0,100}", name, re.ASCII):
        return name
    return hashlib.sha256(name.encode()).hexdigest()
