"""scripts/setup.sh as it is, in a copy of its own, with a Python whose pip installs nothing."""

import io
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import setup_progress
from scripts.repository import REPOSITORY
from scripts.setup_progress import SetupProgress

# Makes a .venv of itself; its pip notes how it was called and says what it is told to say.
PYTHON = """\
#!/bin/sh
case "$1 $2 $3" in
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip --version") echo pip ;;
"-m pip install")
    if [ -t 1 ]; then where=terminal; else where=pipe; fi
    echo "$where $*" >>"$FAKE_RECORD"
    cat "$FAKE_OUTPUT"
    if [ -n "$FAKE_FAILS" ]; then exit 1; fi
    folder="${0%/bin/python}"
    mkdir -p "$folder/lib/python3.13/site-packages/torch"
    ;;
*) exec REAL "$@" ;;
esac
"""

# Recorded from pip 23.2, shortened.
OUTPUT = """\
Looking in indexes: INDEX
Obtaining file:///home/me/delta-fedavg
  Installing build dependencies: started
  Installing build dependencies: finished with status 'done'
  Preparing editable metadata (pyproject.toml): started
Collecting filelock>=3.20 (from delta-fedavg==0.1.0)
  Downloading filelock-4.3.1-py3-none-any.whl (244 kB)
WARNING: Location 'file:///mirror/flwr/' is ignored: it is neither a file nor a directory.
Collecting flwr[simulation]>=1.41 (from delta-fedavg==0.1.0)
  Using cached flwr-1.42.0-py3-none-any.whl (1.2 MB)
WARNING: Location 'file:///mirror/torch/' is ignored: it is neither a file nor a directory.
Collecting torch>=2.15 (from delta-fedavg==0.1.0)
  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (539.1 MB)
Building wheels for collected packages: delta-fedavg
  Building editable for delta-fedavg (pyproject.toml): started
  Created wheel for delta-fedavg: filename=delta_fedavg-0.1.0-py3-none-any.whl size=9000
  Stored in directory: /tmp/pip-ephem-wheel-cache
Successfully built delta-fedavg
Installing collected packages: filelock, torch, flwr, delta-fedavg
  Attempting uninstall: filelock
    Found existing installation: filelock 4.0
Successfully installed delta-fedavg-0.1.0 filelock-4.3.1 flwr-1.42.0 torch-2.15.0
"""

SHORT = [
    "WARNING: Location 'file:///mirror/flwr/' is ignored: it is neither a file nor a directory.",
    "Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (539 MB)",
    "Installing 4 packages",
    "pip gave 1 more warnings of the same kinds",
]


class Copy:
    """A copy of what the set-up needs of the repository, with a fake Python ahead on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.repo = folder / "a repo"
        (self.repo / "scripts").mkdir(parents=True)
        for name in ("scripts/setup.sh", "scripts/setup_progress.py", "pyproject.toml"):
            shutil.copy(REPOSITORY / name, self.repo / name)
        python = folder / "bin" / "python3.13"
        python.parent.mkdir()
        python.write_text(PYTHON.replace("REAL", sys.executable), encoding="utf-8")
        python.chmod(0o755)
        self.record = folder / "record"
        output = folder / "output"
        output.write_text(OUTPUT, encoding="utf-8")
        self.environment = os.environ | {
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "FAKE_RECORD": str(self.record),
            "FAKE_OUTPUT": str(output),
            "FAKE_FAILS": "",
        }

    def set_up(self, *, where: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        setup = str(self.repo / "scripts/setup.sh")
        return subprocess.run(
            ["sh", "-c", f'{where} exec "$0"', setup],
            cwd=self.record.parent,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def stamped(self) -> bool:
        return (self.repo / ".venv/.installed-base").exists()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_the_first_set_up_says_how_large_it_is_and_how_it_gets_smaller_before_it_begins(
    copy: Copy,
) -> None:
    done = copy.set_up()

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # that belongs to the command that is set up for
    before, began, _ = done.stderr.partition(SHORT[0])
    assert began
    assert "3 GB" in before
    assert "7 GB of disk" in before
    assert "200 MB" in before
    assert "PIP_EXTRA_INDEX_URL=" in before
    assert copy.stamped()


def test_without_a_terminal_pip_is_told_in_a_few_lines(copy: Copy) -> None:
    done = copy.set_up()

    shown = done.stderr.splitlines()
    assert shown[-5:] == [*SHORT, "Installed."]
    (call,) = copy.record.read_text().splitlines()
    assert call.startswith("pipe -m pip install")
    assert "--progress-bar off" in call
    assert call.endswith(f"--editable {copy.repo}")


def test_on_a_terminal_pip_has_it_to_itself(copy: Copy) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [str(copy.repo / "scripts/setup.sh")],
            env=copy.environment,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        try:
            while part := screen.read(4096):
                seen += part
        except OSError:  # how Linux tells that the other side is closed
            pass
        assert process.communicate()[0] == b""

    assert process.returncode == 0, seen
    (call,) = copy.record.read_text().splitlines()
    assert call.startswith("terminal -m pip install")
    assert "--progress-bar" not in call
    assert b"Collecting torch>=2.15" in seen


def test_a_second_call_does_nothing_and_says_nothing(copy: Copy) -> None:
    copy.set_up()
    again = copy.set_up()

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(copy.record.read_text().splitlines()) == 1


def test_where_torch_is_already_nothing_is_said_of_its_size(copy: Copy) -> None:
    copy.set_up()
    with (copy.repo / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("# a change\n")
    again = copy.set_up()

    assert again.returncode == 0
    assert "Installing the project" in again.stderr
    assert "GB" not in again.stderr
    assert len(copy.record.read_text().splitlines()) == 2


def test_a_failure_of_pip_shows_its_reason_and_is_taken_up_again(copy: Copy) -> None:
    reason = "ERROR: No matching distribution found for torch>=2.15\n"
    Path(copy.environment["FAKE_OUTPUT"]).write_text(reason, encoding="utf-8")
    failed = copy.set_up(FAKE_FAILS="yes")

    assert failed.returncode == 1
    assert reason in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("error: the installation failed")
    assert not copy.stamped()
    assert copy.set_up().returncode == 0
    assert copy.stamped()


def test_a_working_directory_that_was_deleted_is_told_before_anything_else(copy: Copy) -> None:
    failed = copy.set_up(where="mkdir gone && cd gone && rmdir ../gone &&")

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "error: the folder that you are in does not exist any more; go to another one first: cd ~"
    )
    assert not copy.record.exists()


def test_what_takes_long_gives_a_sign_of_life(tmp_path: Path, monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with (tmp_path / "library").open("wb") as library:
        library.truncate(300_000_000)
    output = io.StringIO()
    progress = SetupProgress(tmp_path, output)

    def after(seconds: float, line: str) -> list[str]:
        nonlocal now
        progress.follow([line])
        now += seconds
        output.truncate(0)
        output.seek(0)
        progress.say_if_silent()
        return output.getvalue().splitlines()

    assert after(setup_progress.SILENCE_SECONDS - 1, "Collecting numpy>=2.4\n") == []
    assert after(1, "Processing /wheels/rich-15.0.0-py3-none-any.whl\n") == [
        "20 s: collecting packages, 2 so far"
    ]
    assert after(5, "  Downloading torch-2.15.0-x.whl (539.1 MB)\n") == []
    assert after(20, "") == ["45 s: downloading torch-2.15.0-x.whl"]
    assert after(20, "Collecting ray>=2\n") == ["65 s: collecting packages, 3 so far"]
    assert after(30, "Installing collected packages: a, b\n") == [
        f"95 s: installing 2 packages, 0.3 GB in {tmp_path.name}"
    ]
