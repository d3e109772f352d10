"""What docs/tasks.md says is done to the letter: its files, its commands, and what it promises."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fl_app.core.run_config import DEFAULTS
from scripts.analysis import contract, evaluate, predict
from scripts.launcher.options import plan_launch
from scripts.repository import REPOSITORY
from tests.support.command_run import PATIENCE
from tests.support.local_run import digest, metrics, run_app, summary_of

# Flower's command line, which reads run configs, imports what its own dependency deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")

PAGE = (REPOSITORY / "docs/tasks.md").read_text(encoding="utf-8")
HOME = "/home/me"
FILES = dict(re.findall(rf"```python\n# {HOME}/(\S+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]

every_file = pytest.mark.parametrize("file", FILES)


def arguments(command: str, file: str, home: Path) -> list[str]:
    """The arguments of the page's one call of a command with a file, which is here."""
    (found,) = [call for call in COMMANDS if call[0] == command and f"{HOME}/{file}" in str(call)]
    return [word.replace(HOME, str(home)) for word in found[1:]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the page's files are."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


@pytest.fixture
def config_of(
    home: Path, run_config: dict[str, Any], no_pictures: None
) -> Callable[[str], dict[str, Any]]:
    """The run config that the page's command makes for a file."""

    def config(file: str) -> dict[str, Any]:
        asked = plan_launch(arguments("scripts/run", file, home), Path.cwd()).overrides
        here = {"output-dir": run_config["output-dir"], "tensorboard": False}
        return {**DEFAULTS, **asked, **here, "quorum-deadline": 30.0, "num-server-rounds": 2}

    return config


def test_the_page_shows_three_tasks_and_the_first_takes_some_forty_lines():
    assert list(FILES) == ["my_task.py", "tumours.py", "letters.py"]
    assert len(FILES["my_task.py"].strip().splitlines()) <= 50
    assert len(FILES) == PAGE.count("```python")


@pytest.mark.slow
@every_file
def test_the_contract_accepts_it(file, home, capsys):
    assert contract.main(arguments("scripts/contract", file, home)) == 0
    assert "BROKEN" not in capsys.readouterr().out


@every_file
def test_it_runs_and_learns(file, config_of):
    directory = run_app(config_of(file) | {"num-server-rounds": 3})

    summary = summary_of(directory)
    rounds = [row["central"] for row in metrics(directory, "round")]
    assert summary["failures"] == 0
    assert rounds[-1]["loss"] < 0.9 * rounds[0]["loss"]


@every_file
def test_it_resumes_to_the_same_bits(file, config_of):
    config = config_of(file)
    whole = run_app(config | {"num-server-rounds": 3})
    half = run_app(config | {"num-server-rounds": 1})

    resumed = run_app(config | {"num-server-rounds": 3, "resume": str(half)})

    assert summary_of(resumed)["rounds"] == 3
    assert digest(resumed) == digest(whole)


@every_file
def test_it_runs_under_masks(file, config_of):
    masked = config_of(file) | {"clip-norm": 1.0, "secure-aggregation": True}
    secure, plain = run_app(masked), run_app(masked | {"secure-aggregation": False})

    assert summary_of(secure)["failures"] == 0
    assert summary_of(secure)["central"]["loss"] == pytest.approx(
        summary_of(plain)["central"]["loss"], rel=1e-3
    )


@every_file
@pytest.mark.parametrize("privacy", ["central", "distributed"])
def test_it_runs_with_privacy(file, privacy, config_of):
    private = {"clip-norm": 1.0, "noise-multiplier": 0.1, "privacy-delta": 1e-2}
    directory = run_app(config_of(file) | private | {"privacy": privacy, "fraction-evaluate": 0.0})

    summary = summary_of(directory)
    assert summary["failures"] == 0
    assert summary["rounds"] == 2
    assert (directory / "privacy.json").is_file()


def test_its_participants_are_named_by_their_owners(config_of):
    directory = run_app(config_of("my_task.py"))

    names = {row["participant"] for row in metrics(directory, "participant")}
    assert names == {"under 40", "40 to 49", "50 to 59", "60 and over"}


def test_the_target_and_the_progress_line_that_it_shows(config_of, flower_log):
    flower_log.set_level("INFO")
    target = {"target": "absolute-error=60", "num-server-rounds": 9, "learning-rate": 0.05}
    summary = summary_of(run_app(config_of("my_task.py") | target))

    assert summary["rounds"] < 9
    assert "absolute-error" in summary["reason"]
    assert re.search(r"round 0/9 \| central absolute-error \d\d\.\d{4} loss", flower_log.text)


def test_the_commands_for_a_saved_model(config_of, home, capsys):
    directory = run_app(config_of("my_task.py"))
    for command, main in (("scripts/evaluate", evaluate.main), ("scripts/predict", predict.main)):
        words = arguments(command, "my_task.py", home)
        assert words[0] == "results/my-run"

        assert main([str(directory), *words[1:]]) == 0

    told = capsys.readouterr().out
    error = summary_of(directory)["central"]["absolute-error"]
    assert f"absolute-error {error:.4f}" in told
    ((predicted,),) = [re.findall(r"59,2,32\.1.*: (-?\d+)\n", told)]
    assert 25 < int(predicted) < 346  # the range of all patients; this one's is 151


def test_a_participant_brings_its_own_table(config_of, home, tmp_path):
    """As the page says, of a task that reads a participant's own data."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer

    from fl_app.client_app import app
    from scripts.harness.in_process_grid import InProcessGrid
    from tests.support.local_run import run_on

    table = load_breast_cancer()
    rows = np.column_stack([table.data, 1 - table.target])
    nodes = []
    for i in range(3):
        np.savetxt(tmp_path / f"{i}.csv", rows[i::3], delimiter=",")
        nodes.append({"name": f"clinic {i}", "data": str(tmp_path / f"{i}.csv")})
    config = config_of("tumours.py") | {"dataset": "own", "partitioner": "contiguous"}

    directory = run_on(InProcessGrid(app, config, 3, node_configs=nodes), config)

    assert summary_of(directory)["failures"] == 0
    task = ["--task", str(config["task"])]
    assert evaluate.main([str(directory), *task]) == 1
    assert evaluate.main([str(directory), *task, "--data", str(tmp_path / "0.csv")]) == 0


@pytest.mark.slow
@pytest.mark.simulation
@pytest.mark.timeout(900)
def test_the_launcher_runs_it(home, tmp_path):
    words = arguments("scripts/run", "my_task.py", home)
    command = [sys.executable, "-m", "scripts.launcher.simulate", *words]
    process = subprocess.Popen(
        [*command, "--output-dir", str(tmp_path / "results")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.terminate()  # it takes its processes with it

    assert process.returncode == 0, output
    shown, printed = (
        re.findall(r"round \d/2 \| central \S+ \S+ loss ([\d.]+)", text) for text in (PAGE, output)
    )
    assert len(shown) == 3
    assert list(map(float, printed)) == pytest.approx(list(map(float, shown)), rel=1e-2)
