"""What the project uses of Flower without a promise: where it may be, and that it is still so.

A new Flower that changes any of it fails the case of just that thing, with a sentence.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY
from tests.support.flower.arithmetic import ARITHMETIC
from tests.support.flower.commands import COMMANDS
from tests.support.flower.configuration import CONFIGURATION
from tests.support.flower.messages import MESSAGES
from tests.support.flower.nodes import NODES
from tests.support.flower.processes import PROCESSES
from tests.support.flower.reliance import Reliance, found, sentence
from tests.support.flower.secure_aggregation import SECURE_AGGREGATION

RELIANCES = [
    *(*MESSAGES, *NODES, *ARITHMETIC, *SECURE_AGGREGATION),
    *(*COMMANDS, *CONFIGURATION, *PROCESSES),
]

ROOMS = (
    "fl_app/messaging/flower_compat.py",
    "strategies/aggregation/flower_arithmetic.py",  # strategies know nothing of fl_app
    "scripts/processes/flower_cli.py",  # imports no Flower: the launcher and doctor start fast
)
# Documented, or needed by everybody who writes a strategy; of those with an `__all__`, what is
# in it, but for the legacy context.
PUBLIC = {
    *("flwr", "flwr.app", "flwr.client", "flwr.clientapp", "flwr.common", "flwr.common.logger"),
    *("flwr.server", "flwr.server.strategy", "flwr.serverapp"),
    *("flwr.server.client_manager", "flwr.server.client_proxy"),
}
LEGACY = {"LegacyContext", "Driver", "Server", "History", "start_server", "workflow"}
PRIVATE_ATTRIBUTES = {"registered_at", "get_nodes", "_message_id"}
MODULE = re.compile(r"\bflwr(?:\.[a-z_]\w*)+")
VARIABLE = re.compile(r"\bFLWR_[A-Z_]+")
INSTEAD = f"import it from {ROOMS[0]} (in scripts, what needs no Flower from {ROOMS[2]})"


def faults(text: str) -> Iterator[str]:
    """Say what of a module's text uses Flower in a way that only the rooms may."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if not is_public(a.name))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [alias.name for alias in node.names]
            module = node.module
            yield from (f"imports {module}.{n}" for n in names if not is_public(module, n))
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE_ATTRIBUTES:
            yield f"uses .{node.attr} of a Flower object"
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            value = node.value if isinstance(node.value, str) else ""
            if value in PRIVATE_ATTRIBUTES:
                yield f"names {value} of a Flower object"
            yield from (f"names {m}" for m in MODULE.findall(value) if not is_public(m))
            yield from (f"names the variable {name}" for name in VARIABLE.findall(value))


def is_public(module: str, name: str | None = None) -> bool:
    if module.split(".")[0] != "flwr":
        return True
    if module not in PUBLIC:
        return False
    if name is None:
        return True
    exported = getattr(import_module(module), "__all__", None)
    return name not in LEGACY and (exported is None or name in exported)


def product() -> list[Path]:
    folders = ("fl_app", "strategies", "scripts")
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ["fl_app", "strategies", "scripts"])
def test_what_flower_does_not_promise_is_used_in_its_rooms_alone(folder):
    files = {path.relative_to(REPOSITORY).as_posix(): path for path in product()}
    assert set(ROOMS) <= set(files)
    complaints = [
        f"{name} {fault}, which Flower does not promise: {INSTEAD}."
        for name, path in files.items()
        if name.startswith(f"{folder}/") and name not in ROOMS
        for fault in faults(path.read_text(encoding="utf-8"))
    ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("from flwr.superlink.grid import InMemoryGrid", "flwr.superlink.grid.InMemoryGrid"),
        ("def f():\n    import flwr.supercore.run", "flwr.supercore.run"),
        ("from flwr.server import LegacyContext", "flwr.server.LegacyContext"),
        ("from flwr.server.strategy import aggregate", "flwr.server.strategy.aggregate"),
        ("from flwr import supercore", "flwr.supercore"),
        ("times = [node.registered_at for node in nodes]", ".registered_at"),
        ("sys.modules.get('flwr.superlink.grid')", "flwr.superlink.grid"),
        ("message.metadata.__dict__['_message_id'] = 'x'", "_message_id"),
        ("home = os.environ['FLWR_HOME']", "FLWR_HOME"),
    ],
)
def test_a_use_elsewhere_is_found(text, fault):
    (found_fault,) = faults(text)
    assert fault in found_fault


def test_what_flower_promises_may_be_used_everywhere():
    text = '''"""Of FLWR_HOME and flwr.supercore."""
from flwr.app import Context, Message
from flwr.client import NumPyClient
from flwr.common.logger import log
from flwr.server.strategy import FedAvg
import flwr
STRATEGY = "flwr.server.strategy:FedAvg"
'''
    assert list(faults(text)) == []


@pytest.mark.filterwarnings("ignore:The 'is_flag' and 'flag_value' parameters:DeprecationWarning")
@pytest.mark.parametrize("thing", RELIANCES, ids=lambda thing: thing.what)
def test_flower_is_still_as_the_project_needs_it(thing):
    try:
        thing.check()
    except Exception as error:
        pytest.fail(sentence(thing, error), pytrace=False)


@pytest.mark.parametrize("room", ROOMS)
def test_flower_has_all_that_a_room_imports(room):
    import_module(room.removesuffix(".py").replace("/", "."))


def test_a_change_is_told_in_a_sentence():
    gone = Reliance("flwr.app.Telepathy", "know what nodes think", lambda: found("flwr.app:Gone"))
    with pytest.raises(AttributeError) as raised:
        gone.check()
    told = sentence(gone, raised.value)
    assert "flwr.app.Telepathy, which the project needs to know what nodes think" in told
    assert "has no attribute 'Gone'" in told
    assert "flower_compat.py" in told


def offered(room: str) -> set[str]:
    """Return the public names of a room: its `__all__`, or what it defines."""
    tree = ast.parse((REPOSITORY / room).read_text(encoding="utf-8"))
    defined: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            targets = [name for t in node.targets for name in ast.walk(t)]
            names = {name.id for name in targets if isinstance(name, ast.Name)}
            if names == {"__all__"}:
                return set(ast.literal_eval(node.value))
            defined |= names
    return {name for name in defined if not name.startswith("_")}


def test_every_name_of_the_rooms_has_a_case_and_every_case_a_name_of_its_own():
    names = Counter(name for thing in RELIANCES for name in thing.ours)
    assert set(names) == set.union(*map(offered, ROOMS))
    assert max(names.values()) == 1
    assert max(Counter(thing.what for thing in RELIANCES).values()) == 1


def loaded_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_participant_loads_nothing_more_of_flower_for_it():
    public = loaded_by("flwr.app", "flwr.client", "flwr.clientapp", "flwr.common")
    more = loaded_by("fl_app.messaging.flower_compat") - public
    assert {name for name in more if not name.startswith("fl_app")} == set(), (
        "A participant's process would load these with every message: import them in a "
        "function of fl_app/messaging/flower_compat.py, where they are needed."
    )


def test_launcher_and_doctor_start_without_flower():
    started = loaded_by(
        "scripts.launcher.simulate", "scripts.deployment.federation", "scripts.diagnostics.doctor"
    )
    assert {name for name in started if name.split(".")[0] == "flwr"} == set()
