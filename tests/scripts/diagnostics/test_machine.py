"""What the doctor says of the machine."""

import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.diagnostics import machine
from tests.scripts.diagnostics.doctor_findings import failures, levels


def test_this_environment_satisfies_the_project() -> None:
    found = list(machine.check_python())
    assert levels(found) == {"python": "ok", "packages": "ok"}
    assert f"flwr {metadata.version('flwr')}" in found[1].message


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package-here", "pytest>=1", 'absent; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    monkeypatch.setattr(metadata, "metadata", lambda _: {"Requires-Python": ">=9"})
    told = failures(list(machine.check_python()))
    assert [
        any(word in line for line in told) for word in (">=9", ">=99", "no-such", "absent")
    ] == [*(True, True, True, False)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ImportError('libcudart.so.13: cannot open shared object file')", "libcudart"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
    ],
)
def test_a_broken_torch_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    (tmp_path / "torch.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [message] = failures(list(machine.check_torch()))
    assert told in message
    assert "Traceback" not in message


def test_little_room_on_a_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DELTA_FEDAVG_DATA_DIR", "DELTA_FEDAVG_OUTPUT_DIR", "FLWR_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "not" / "made" / "yet"))
    for free, level in ((10, "ok"), (3, "warn"), (0.5, "FAIL")):
        usage = SimpleNamespace(free=int(free * 2**30))
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert [f.level for f in machine.check_disks(None)] == [level] * 4
    assert levels(list(machine.check_disks(tmp_path)))["data disk"] == "ok"  # only read


def test_resources_are_told() -> None:
    assert set(levels(list(machine.check_resources()))) == {"processor", "memory"}


@pytest.mark.parametrize(
    ("compiler", "level", "told"),
    [
        ("", "warn", "none. Training of convolutions takes half as long again"),
        ("false", "warn", "does not work: exit status 1. Training"),
        pytest.param(
            "cc",
            "ok",
            "cc works",
            marks=pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
        ),
    ],
)
def test_a_compiler_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, level: str, told: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DELTA_FEDAVG_CC", compiler)
    [finding] = machine.check_compiler()
    assert finding.level == level
    assert told in finding.message
