"""What the guide, the units and `--print` tell an operator to type is what Flower understands."""

import re
import shlex
import shutil
import subprocess
from argparse import ArgumentParser
from pathlib import Path

import pytest
from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

from scripts.deployment import certificates
from scripts.deployment.federation import main
from scripts.repository import REPOSITORY

# Flower's command line imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

PARSERS = {
    "flower-superlink": _parse_args_run_superlink,
    "flower-supernode": _parse_args_run_supernode,
}
UNITS = sorted((REPOSITORY / "docs/systemd").glob("*.service"))


def parser_of(command: str) -> ArgumentParser:
    return PARSERS[Path(command).name]()


def printed_for(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["--print", *arguments]) == 0
    return capsys.readouterr().out


def test_what_print_shows_is_a_script_of_commands_that_flower_knows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = printed_for(
        capsys,
        *("--host", "fl.example.org", "--node", "north=/srv/my images", "--node", "south=/srv/s"),
        *("-c", "class-names='cat,dog' learning-rate=0.05"),
    )

    subprocess.run(["bash", "-n"], input=printed, text=True, check=True)
    commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("flower-")]
    assert [command[0] for command in commands] == ["flower-superlink"] + 2 * ["flower-supernode"]
    parsed = [parser_of(command).parse_args(arguments) for command, *arguments in commands]
    assert [node.node_config for node in parsed[1:]] == [
        'name="north" data="/srv/my images"',
        'name="south" data="/srv/s"',
    ]
    assert {node.superlink for node in parsed[1:]} == {"fl.example.org:8000"}
    assert 'class-names" = "cat,dog' in printed
    assert "0.05" in printed


def test_the_certificates_that_print_asks_for_can_be_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = printed_for(capsys, "--host", "fl.example.org", "--participants", "2")

    prefix = "python -m scripts.deployment.certificates "
    lines = [line.removeprefix(prefix) for line in printed.splitlines() if line.startswith(prefix)]
    for line in lines:
        arguments = [word.replace("/etc", str(tmp_path / "etc")) for word in shlex.split(line)]
        assert certificates.main(arguments) == 0, line

    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made >= {"ca/ca.crt", "ca/ca.key", "server/server.crt", "server/server.key"}
    assert made >= {f"etc/delta-fedavg/node-{i}.{end}" for i in (0, 1) for end in ("key", "pub")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_flower_with_options_that_it_knows(unit: Path) -> None:
    text = unit.read_text().replace("\\\n", " ")
    start = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert start is not None
    command, *arguments = shlex.split(start[1].replace("${PORT}", "9094"))

    parser_of(command).parse_args(arguments)

    assert "Restart=always" in text
    assert "KillMode=control-group" in text  # Flower's children have sessions of their own


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_to_object_to(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(re.sub(r"=/opt/\S+/flower-\w+", "=/bin/true", unit.read_text()))

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True
    )

    objections = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert (checked.returncode, objections) == (0, []), checked.stderr


def test_the_containers_commands_name_files_that_exist() -> None:
    lines = (REPOSITORY / "docs/Containerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((REPOSITORY / name).exists() for name in copied)
