"""A SuperLink and SuperNodes of our own, over TLS: real processes, private folder, free ports."""

import contextlib
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.deployment import commands as commands
from scripts.deployment.key_material import make_authority, make_node_key, make_server
from scripts.deployment.plan import Node
from scripts.deployment.state import StateFolder
from scripts.launcher.flower_lines import readable
from scripts.processes.flower_cli import HEALTH_PATH, HOME_VARIABLE, KEY_IN_USE
from scripts.processes.superlink import Launch, LaunchError, command, free_port

LOGS = "logs"
_ATTEMPTS = 3
_STARTUP_SECONDS = 60.0
_REGISTER_SECONDS = 60.0

Popen = subprocess.Popen[bytes]


class Federation:
    """The processes of one launch, and the state folder that they share.

    Attributes:
        launch: Marks all its processes; its folder holds what need not be kept.
        state: Certificates, keys and database.
        bind: Address at which the SuperLink listens.
        port: Its port.
        logs: Folder of one log per process.
        nodes: The SuperNodes by name, as they were last started.
        superlink: The SuperLink, as it was last started.
    """

    def __init__(
        self, launch: Launch, state: Path, hosts: Sequence[str] = (), bind: str = "127.0.0.1"
    ) -> None:
        """Set up, and make what certificates are needed.

        Args:
            launch: The launch.
            state: State folder, kept if it lies outside the launch's own.
            hosts: What else the server's certificate is to be good for.
            bind: Address at which the SuperLink listens.
        """
        self.launch = launch
        self.state = StateFolder(state)
        self.bind = bind
        self.port = 0
        self.logs = launch.folder / LOGS
        self._server = launch.folder / "server"
        self.nodes: dict[str, Popen] = {}
        self.superlink: Popen | None = None
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True)
        if not self.state.ca_certificate.exists():
            make_authority(self.state.authority)
        # Cheap, and so never expired, and good for the hosts of today.
        make_server(self._server, self.state.authority, hosts)

    @property
    def address(self) -> str:
        """Where the SuperLink listens."""
        return f"{self.bind}:{self.port}"

    def start_superlink(self, cancelled: Callable[[], bool], port: int | None = None) -> None:
        """Start the SuperLink, wait until it answers over TLS and name it to `flwr`.

        Args:
            cancelled: Asked while waiting; True ends the wait early and quietly.
            port: The port; any free one, if `None`.

        Raises:
            LaunchError: If it does not come up.
        """
        for _ in range(_ATTEMPTS):
            self.port = port or free_port(self.bind)
            process = self._spawn(self._superlink_command(), "superlink")
            self.superlink = process
            deadline = time.monotonic() + _STARTUP_SECONDS
            while process.poll() is None and not cancelled():
                if self._answers():
                    self._write_connection()
                    return
                if time.monotonic() > deadline:
                    raise LaunchError("the SuperLink did not answer over TLS in time")
                time.sleep(0.1)
            if cancelled():
                return
        raise LaunchError(f"the SuperLink ended at once:\n{self.last_words('superlink')}")

    def register(self, nodes: Sequence[Node]) -> None:
        """Make the nodes' keys, where they have none, and make them known to the SuperLink.

        Raises:
            LaunchError: If the SuperLink refuses one.
        """
        for node in nodes:
            if not self.state.node_key(node.name).exists():
                make_node_key(self.state.nodes, node.name)
        registering = {
            node.name: self.flwr(*commands.register(self.state.public_key(node.name), node.name))
            for node in nodes
        }
        for name, process in registering.items():
            answer = process.communicate(timeout=_REGISTER_SECONDS)[0]
            if process.returncode and KEY_IN_USE not in answer:
                raise LaunchError(f"the SuperLink does not register {name}:\n{answer}")

    def start_node(
        self,
        node: Node,
        key: Path | None = None,
        ca_certificate: Path | None = None,
        address: str | None = None,
        prefix: Sequence[str] = (),
    ) -> Popen:
        """Start a SuperNode; it connects by itself, and keeps trying.

        Args:
            node: Its name and config.
            key: Its private key, if not the state folder's.
            ca_certificate: Whom it trusts, if not the state folder's authority.
            address: Where it looks for the SuperLink, if not where ours is.
            prefix: A command that starts it, such as one that enters a network namespace.
        """
        arguments = commands.supernode(
            ca_certificate or self.state.ca_certificate,
            key or self.state.node_key(node.name),
            address or self.address,
            free_port(),
            node.config_argument,
        )
        self.nodes[node.name] = self._spawn(arguments, node.name, prefix)
        return self.nodes[node.name]

    def flwr(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a `flwr` command that talks to the SuperLink, output and errors in one pipe."""
        return subprocess.Popen(
            [command(arguments[0]), *arguments[1:]],
            env=self._environment("operator"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # the terminal's Ctrl-C is for us alone to pass on
        )

    def wait(self) -> None:
        """Collect the processes, which have been ended."""
        for process in [*self.nodes.values(), *filter(None, [self.superlink])]:
            process.wait()

    def log_of(self, name: str) -> Path:
        """Return the log of a node, or of "superlink"."""
        return self.logs / f"{name}.log"

    def last_words(self, name: str, lines: int = 12) -> str:
        """Return the end of a process's log, without what concerns nobody."""
        with contextlib.suppress(OSError):
            text = self.log_of(name).read_text(encoding="utf-8", errors="replace")
            return "\n".join(readable(text.strip())[-lines:])
        return ""

    def _superlink_command(self) -> list[str]:
        state = self.state
        return commands.superlink(
            state.ca_certificate, self._server, state.database, self.bind, self.port
        )

    def _spawn(self, arguments: Sequence[str], name: str, prefix: Sequence[str] = ()) -> Popen:
        with self.log_of(name).open("ab") as log:
            return subprocess.Popen(
                [*prefix, command(arguments[0]), *arguments[1:]],
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, name: str) -> dict[str, str]:
        """Everybody has a Flower home of their own, as on hosts of their own."""
        home = self.launch.folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        return self.launch.environment() | {HOME_VARIABLE: str(home)}

    def _write_connection(self) -> None:
        home = Path(self._environment("operator")[HOME_VARIABLE])
        text = commands.connection_toml(self.address, self.state.ca_certificate)
        (home / "config.toml").write_text(text, encoding="utf-8")

    def _answers(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.state.ca_certificate))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        try:
            with opener.open(f"https://{self.address}{HEALTH_PATH}", timeout=1.0) as reply:
                return bool(reply.status == 200)
        except ssl.SSLError:
            raise
        except (urllib.error.URLError, OSError):
            return False
