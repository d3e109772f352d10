"""What the scripts rely on of Flower's processes: texts, the start of Ray, trust and clocks."""

import re

from scripts.diagnostics import server as doctor_server
from scripts.processes import flower_cli
from tests.support.flower.reliance import FLOWER, Reliance, contains, found, source


def _outcome() -> None:
    constants, run_module = found("flwr.common.constant"), found("flwr.supercore.run")
    run = run_module.Run.create_empty(7)
    ending = (constants.Status.FINISHED, constants.SubStatus.COMPLETED, "details")
    run.status = run_module.RunStatus(*ending)
    rows = found("flwr.cli.run_utils:format_runs")([run], "2026-01-01T00:00:00+00:00")
    printed = "a warning\n" + found("flwr.cli.ls:_to_json")(rows)
    assert flower_cli.read_outcome(printed) == (flower_cli.COMPLETED, "details")


def _run_started() -> None:
    text = source("cli/run/run.py").replace("{res.run_id}", "7")
    match = flower_cli.RUN_ID.search(text)
    assert match is not None, f"flwr/cli/run/run.py does not print {flower_cli.RUN_STARTED!r}"
    assert match[1] == "7"


def _ray() -> None:
    path = flower_cli.RAY_ACTOR_MODULE.removeprefix("flwr.").replace(".", "/") + ".py"
    assert (FLOWER / path).is_file()
    backend = "server/superlink/fleet/vce/backend/raybackend.py"
    contains(backend, flower_cli.RAY_ACTOR_MODULE.rpartition(".")[0])


def _ray_environment() -> None:
    text = " ".join(source("server/superlink/fleet/vce/backend/raybackend.py").split())
    (arguments,) = re.findall(r"ray\.init\((.*?)\)", text)
    wanted = 'runtime_env={"env_vars": {"PYTHONPATH": pythonpath}}, **ray_init_args,'
    assert arguments.strip() == wanted, f"it calls ray.init({arguments})"


def _tls() -> None:
    contains(
        "supercore/protobuf/client.py",
        "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
        'load_verify_locations(cadata=root_certificates.decode("ascii"))',
        "import httpx",
    )


def _clock() -> None:
    constants = found("flwr.superlink.routers.fleet.node_auth")
    ahead = constants.SYSTEM_TIME_TOLERANCE
    behind = constants.TIMESTAMP_TOLERANCE + constants.SYSTEM_TIME_TOLERANCE
    # A second is lost in the Date header.
    assert (ahead + 1, behind - 1) == (doctor_server._MOST_AHEAD, doctor_server._MOST_BEHIND)


def _node_key() -> None:
    contains(
        "supernode/cli/flower_supernode.py",
        "load_ssh_private_key(",
        "isinstance(ssh_private_key, ec.EllipticCurvePrivateKey)",
    )


PROCESSES = [
    Reliance(
        "the JSON that `flwr list` prints",
        "know whether a run was completed",
        _outcome,
        ("read_outcome", "COMPLETED"),
    ),
    Reliance(
        "the module of Ray's actors",
        "let Ray's workers load Flower ahead",
        _ray,
        ("RAY_ACTOR_MODULE",),
    ),
    Reliance(
        "how a simulation starts Ray",
        "have it join a Ray that runs already, with workers that fit",
        _ray_environment,
    ),
    Reliance(
        "the address of the health check",
        "know when a SuperLink is up",
        lambda: contains(
            "supercore/routers/health/router.py", f'@router.get("{flower_cli.HEALTH_PATH}"'
        ),
        ("HEALTH_PATH",),
    ),
    Reliance(
        "the line that says that a run was accepted",
        "learn its id",
        _run_started,
        ("RUN_STARTED", "RUN_ID"),
    ),
    Reliance(
        "the line that says that a simulation begins",
        "measure the start by stages",
        lambda: contains("simulation/app.py", f'"{flower_cli.SIMULATION_STARTED}"'),
        ("SIMULATION_STARTED",),
    ),
    Reliance(
        "the message that a public key is in use",
        "register a node again without an error",
        lambda: contains("supercore/error/catalog.py", f'public_message="{flower_cli.KEY_IN_USE}'),
        ("KEY_IN_USE",),
    ),
    Reliance("how Flower's client trusts a server", "rehearse the connection", _tls),
    Reliance("how far clocks may differ", "warn a node before it is refused", _clock),
    Reliance("how a SuperNode reads its key", "find a wrong key before it starts", _node_key),
]
