"""Which room may import which: the order of `ORDER` is the only place that says so.

A file may import from rooms that stand before its own in `ORDER`, and from its own room as long as
no circle comes of it. `scripts` and `tests` may import everything of `strategies` and `fl_app`.
"""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from scripts.repository import REPOSITORY

# From the ground up; what stands in one line does not see each other.
ORDER = (
    ("strategies.native", "strategies.part_imports"),
    ("strategies.part_kinds",),
    ("strategies.part_specs",),
    ("strategies.registry",),
    ("strategies.core",),
    (
        "strategies.aggregation",
        "strategies.compression",
        "strategies.optimization",
        "strategies.attacks",
    ),
    ("strategies.privacy", "strategies.update_collector", "strategies.contract"),
    ("strategies.parts",),
    ("strategies.delta_fedavg",),
    ("strategies",),
    ("fl_app.core",),
    ("fl_app.data",),
    ("fl_app.tasks",),
    ("fl_app.models",),
    ("fl_app.results",),
    ("fl_app.messaging", "fl_app.callbacks", "fl_app.plots", "fl_app.privacy"),
    ("fl_app.training", "fl_app.secure_aggregation"),
    ("fl_app.rounds", "fl_app.client_app", "fl_app.contract"),
    ("fl_app.experiment",),
    ("fl_app.server_app",),
    ("scripts.repository",),
    ("scripts.processes",),
    ("scripts.launcher",),
    ("scripts.deployment", "scripts.harness"),
    ("scripts.diagnostics", "scripts.analysis", "scripts.docgen"),
    ("scripts.studies", "scripts.benchmarks"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def files() -> Iterator[Path]:
    for package in ("strategies", "fl_app", "scripts"):
        yield from sorted((REPOSITORY / package).rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in files() if "stock_app" not in file.parts}


def room_of(module: str) -> str:
    """The longest name in `ORDER` that the module's begins with."""
    names = [room for room in LEVEL if module == room or module.startswith(f"{room}.")]
    assert names, f"{module} is in no room of ORDER: say where it stands"
    return max(names, key=len)


def imports(module: str) -> set[str]:
    """The project's modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module} imports by a relative name"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name in MODULES and name != module}


def upward(modules: Iterable[str]) -> list[str]:
    """Say which of a file's imports run upward."""
    wrong = []
    for module in modules:
        for target in sorted(imports(module)):
            here, there = room_of(module), room_of(target)
            if here != there and LEVEL[there] >= LEVEL[here]:
                wrong.append(f"{module} imports {target}: {here} may not look up to {there}")
    return wrong


def test_no_arrow_runs_upward() -> None:
    assert not upward(MODULES), "see ORDER"


def test_no_arrows_run_in_a_circle() -> None:
    sorter = TopologicalSorter({module: imports(module) for module in MODULES})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail("these import each other: " + " -> ".join(error.args[1]))


def test_an_upward_arrow_and_a_circle_would_be_found(monkeypatch, tmp_path) -> None:
    low, high = tmp_path / "low.py", tmp_path / "high.py"
    low.write_text("def f():\n    from fl_app.server_app import app\n")
    high.write_text("import fl_app.core.low\n")
    monkeypatch.setitem(MODULES, "fl_app.core.low", low)
    monkeypatch.setitem(MODULES, "fl_app.server_app", high)

    assert imports("fl_app.core.low") == {"fl_app.server_app"}
    (wrong,) = upward(["fl_app.core.low"])
    assert wrong.endswith("fl_app.core may not look up to fl_app.server_app")
    with pytest.raises(pytest.fail.Exception, match="import each other"):
        test_no_arrows_run_in_a_circle()


def test_files_and_rooms_stay_small() -> None:
    for module, file in MODULES.items():
        lines = file.read_text(encoding="utf-8").count("\n")
        assert lines <= 250, f"{module} has {lines} lines: is it still one job?"
    for room in {file.parent for file in MODULES.values()}:
        number = len([f for f in room.glob("*.py") if f.name != "__init__.py"])
        assert number <= 9, f"{room.relative_to(REPOSITORY)} has {number} files"
