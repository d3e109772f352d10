"""The doctor: each thing that keeps a node from joining has its own sentence."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.diagnostics import doctor
from scripts.diagnostics.report import Finding, fail, guarded, ok
from scripts.repository import REPOSITORY
from tests.scripts.diagnostics.doctor_findings import options


def test_a_check_that_breaks_is_a_line_and_keeps_what_it_had_found() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("thing", "half")
        raise RuntimeError("oh\nno")

    assert guarded("thing", breaks) == [
        ok("thing", "half"),
        fail("thing", "could not be checked: RuntimeError: oh no."),
    ]


def test_exit_status_and_json(monkeypatch: pytest.MonkeyPatch, capsys: Any, key: Path) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: [ok("torch", "works")])
    monkeypatch.setattr(doctor, "_disks", lambda _: [])
    assert doctor.main(["--key", str(key)]) == 0
    assert capsys.readouterr().out.endswith("Ready to join.\n")
    key.chmod(0o644)
    assert doctor.main(["--key", str(key), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [f["check"] for f in report["findings"] if f["level"] == "FAIL"] == ["key"]


def test_without_torch_the_data_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda: [fail("torch", "broken")])
    monkeypatch.setattr(doctor, "_data", lambda _: pytest.fail("tried"))
    found = list(doctor.examine(doctor.parse(options(pictures))))
    assert any(f == fail("data", "not checked, because PyTorch does not work") for f in found)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "/x"],
        ["--thumbnails", "/x.png"],
        ["--data", "/x", "--class-names", "a", "--image-shape", "28"],
    ],
)
def test_a_mistaken_command_line_is_status_2(arguments: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.parse(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.slow
def test_the_command_imports_nothing_that_may_be_broken() -> None:
    script = "import sys, scripts.diagnostics.doctor; print([m for m in ('numpy', 'torch', "
    script += "'cryptography', 'packaging', 'fl_app', 'PIL') if m in sys.modules])"
    root = REPOSITORY
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
