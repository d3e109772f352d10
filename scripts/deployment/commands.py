"""The commands of a federation: the ones we run, and the ones that an operator runs."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from scripts.deployment.plan import FederationPlan, Node
from scripts.launcher.run_config import as_toml
from scripts.processes import flower_cli
from scripts.processes.flower_cli import (
    HOME_VARIABLE,
    POLL_INTERVAL_VARIABLE,
    SUPERLINK_PROCESS,
    SUPERNODE_PROCESS,
    run_arguments,
)
from scripts.repository import REPOSITORY

SUPERLINK_PORT = 8000  # Flower's default
CONNECTION = "federation"

_CERTIFICATES = "python -m scripts.deployment.certificates"
_ETC = Path("/etc/delta-fedavg")
_VAR = Path("/var/lib/delta-fedavg")


def superlink(
    ca_certificate: Path, server: Path, database: Path, host: str, port: int
) -> list[str]:
    """Return the command of the SuperLink: TLS, known nodes only, state on disk."""
    arguments = [SUPERLINK_PROCESS, "--ssl-ca-certfile", str(ca_certificate)]
    arguments += ["--ssl-certfile", str(server / "server.crt")]
    arguments += ["--ssl-keyfile", str(server / "server.key")]
    arguments += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    arguments += ["--database", str(database)]
    return [*arguments, "--host", host, "--port", str(port)]


def supernode(
    ca_certificate: Path, key: Path, address: str, port: int | None, node_config: str
) -> list[str]:
    """Return the command of a SuperNode; the port is that of its own loopback API."""
    arguments = [SUPERNODE_PROCESS, "--root-certificates", str(ca_certificate)]
    arguments += ["--auth-supernode-private-key", str(key), "--superlink", address]
    if port is not None:
        arguments += ["--port", str(port)]
    return [*arguments, "--node-config", node_config]


def register(public_key: Path, name: str) -> list[str]:
    """Return the command that makes a node known to the SuperLink."""
    return ["flwr", "supernode", "register", str(public_key), CONNECTION, "--name", name]


def run(app: Path | str, config: Path | str, extra: Sequence[str] = ()) -> list[str]:
    """Return the command that submits the app."""
    return ["flwr", *run_arguments(str(app), CONNECTION, str(config)), *extra]


def connection_toml(address: str, ca_certificate: Path) -> str:
    """Return the part of Flower's configuration that names the SuperLink."""
    trust = f'root-certificates = "{ca_certificate}"'
    return flower_cli.connection_toml(CONNECTION, address, trust)


def operator_script(plan: FederationPlan) -> str:
    """Return what an operator types, host by host, to run a plan on real hosts."""
    host = plan.hosts[0]
    address = f"[{host}]:{SUPERLINK_PORT}" if ":" in host else f"{host}:{SUPERLINK_PORT}"
    blocks = [
        _PREFACE,
        _making_certificates(plan.hosts),
        *(_making_a_key(node.name) for node in plan.nodes),
        _starting_the_superlink(plan, address),
        *(_starting_a_node(node, address) for node in plan.nodes),
        _running(plan),
    ]
    return "\n\n".join(blocks) + "\n"


_PREFACE = f"""\
# What to type on which host; docs/deployment.md explains it. On every host, first:
# scripts/setup.sh && . .venv/bin/activate && sudo install -d -o "$USER" -m 700 {_ETC} {_VAR}
# And where a SuperLink or SuperNode is started, lest each message wait for Flower's own second:
export {POLL_INTERVAL_VARIABLE}=0.25"""


def _making_certificates(hosts: Sequence[str]) -> str:
    names = " ".join(f"--host {shlex.quote(name)}" for name in hosts)
    return f"""\
# On a machine off the network: the certificate authority and the server's certificate.
{_CERTIFICATES} ca ca
{_CERTIFICATES} server server --ca ca {names}
# Copy ca/ca.crt to {_ETC} on every host below, and server/server.crt and
# server/server.key to {_ETC} on {hosts[0]}."""


def _making_a_key(name: str) -> str:
    return f"""\
# On the host of {name}: its key, which stays there.
{_CERTIFICATES} node {_ETC} --name {shlex.quote(name)}
# Give {_ETC / name}.pub, which is no secret, to the operator."""


def _starting_the_superlink(plan: FederationPlan, address: str) -> str:
    start = superlink(_ETC / "ca.crt", _ETC, _VAR / "superlink.db", "0.0.0.0", SUPERLINK_PORT)
    registering = [shlex.join(register(Path(f"{n.name}.pub"), n.name)) for n in plan.nodes]
    lines = [
        f"# On {plan.hosts[0]}: the SuperLink, in a terminal of its own. Whoever reaches its",
        "# port can submit code to it: let a firewall admit the nodes alone, or better, let it",
        "# listen on 127.0.0.1 behind the proxy of docs/deployment.md, step 3.",
        shlex.join(start),
        "# ... and beside it, as the operator, once: whom it is to know.",
        f"export {HOME_VARIABLE}=~/federation; mkdir -p ${HOME_VARIABLE}",
        f"cat > ${HOME_VARIABLE}/config.toml <<'END'",
        connection_toml(address, _ETC / "ca.crt") + "END",
        *registering,
    ]
    return "\n".join(lines)


def _starting_a_node(node: Node, address: str) -> str:
    key = _ETC / f"{node.name}.key"
    start = supernode(_ETC / "ca.crt", key, address, None, node.config_argument)
    return f"# On the host of {node.name}: the SuperNode.\n{shlex.join(start)}"


def _running(plan: FederationPlan) -> str:
    ours = str(REPOSITORY / "results")
    overrides = {key: value for key, value in plan.overrides.items() if value != ours}
    lines = [
        f"# On {plan.hosts[0]}, as the operator, in the project's folder: the run. data-dir, where",
        "# it is given, is a path on every host; output-dir is one on this host.",
        "cat > run-config.toml <<'END'",
        as_toml(overrides) + "END",
        shlex.join(run(".", "run-config.toml", plan.flwr_arguments)),
    ]
    return "\n".join(lines)
