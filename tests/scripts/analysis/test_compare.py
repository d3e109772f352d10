import json
import re
from typing import Any

import pytest
from PIL import Image

from scripts.analysis.compare import main
from tests.fl_app.results.test_reader import rounds_of, write_run


def summary(rounds: int, digest: str, reason: str = "all done") -> dict[str, Any]:
    return {
        "reason": reason,
        "rounds": rounds,
        "participants": 2,
        "seconds": 12.5,
        "sha256": {"weights": digest},
    }


@pytest.fixture
def runs(tmp_path):
    """Two equal runs, one that differs, one that was killed."""
    a, b = "a" * 64, "b" * 64
    return [
        write_run(tmp_path / "one", rounds_of(0.7, 0.6), summary=summary(2, a)),
        write_run(tmp_path / "twin", rounds_of(0.7, 0.6), summary=summary(2, a)),
        write_run(
            tmp_path / "other",
            rounds_of(0.5, failures=1),
            {"seed": 2, "output-dir": "/elsewhere"},
            summary(1, b, "ValueError: of\nmany lines " + "x " * 100),
        ),
        write_run(tmp_path / "killed", rounds_of(0.4)),
    ]


def table_of(text: str) -> dict[str, list[str]]:
    """The plain table: columns are told apart by two spaces or more."""
    lines = [[c for c in line.split("  ") if c.strip()] for line in text.splitlines()]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_the_table(runs, capsys):
    assert main(list(map(str, runs))) == 0
    output = capsys.readouterr().out
    table = table_of(output)
    assert table["run"] == ["one", "twin", "other", "killed"]
    assert table["rounds"] == ["2", "2", "1", "1"]
    assert table["central accuracy"] == ["60.00%", "60.00%", "50.00%", "40.00%"]
    assert table["best central"][0] == "70.00% (round 1)"
    assert table["federated accuracy"][2] == "49.00%"
    assert table["loss"] == ["0.4000", "0.4000", "0.5000", "0.6000"]
    assert table["bytes up"] == ["2.0 MB", "2.0 MB", "1.0 MB", "1.0 MB"]
    assert table["bytes down"][0] == "6.0 MB"
    assert table["seconds"] == ["12.5", "12.5", "12.5", "2.5"]
    assert table["failures"] == ["0", "0", "1", "0"]
    assert table["participants"] == ["2"] * 4
    assert table["weights"] == ["a" * 12, "a" * 12, "b" * 12, "-"]
    assert table["seed"] == ["1", "1", "2", "1"]
    assert not {"output-dir", "num-participants", "python"} & table.keys()
    assert table["reason"][2].startswith("ValueError: of many lines")
    assert "still running, or killed" in table["reason"][3]
    assert output.endswith("identical weights: one, twin\n")


def test_the_first_of_equally_good_rounds_is_the_best(tmp_path, capsys):
    run = write_run(tmp_path / "run", rounds_of(0.5, 0.7, 0.6, 0.7))
    assert main([str(run)]) == 0
    assert table_of(capsys.readouterr().out)["best central"] == ["70.00% (round 2)"]


def test_json_has_everything_in_full(runs, capsys):
    assert main([*map(str, runs), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["identical weights"] == [["one", "twin"]]
    other = content["runs"]["other"]
    assert other["settings"] == {"seed": 2}
    assert other["weights"] == "b" * 64
    assert other["reason"].endswith("x ")
    assert other["central accuracy"] == 0.5
    assert content["runs"]["killed"]["weights"] is None


def test_a_terminal_gets_a_table_that_fits(runs, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(list(map(str, runs))) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("central accuracy" in line for line in lines) == 2  # two runs at a time


def test_a_single_unevaluated_run(tmp_path, capsys):
    run = write_run(tmp_path / "young", [])
    assert main([str(run), "--output", str(tmp_path / "plot.png")]) == 0
    table = table_of(capsys.readouterr().out)
    assert table["central accuracy"] == table["rounds"] == ["-"]
    assert "seed" not in table


def test_runs_of_one_name_are_told_by_their_paths(tmp_path, capsys):
    runs = [write_run(tmp_path / folder / "run", rounds_of(0.5)) for folder in "ab"]
    assert main([*map(str, runs), str(runs[0])]) == 0  # naming one twice is naming it once
    assert table_of(capsys.readouterr().out)["run"] == list(map(str, runs))


def test_the_picture(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["one", "killed", "--output", "new/plot.png"]) == 0
    with Image.open(tmp_path / "new/plot.png") as image:
        assert image.format == "PNG"
    assert main(["one", "--output", "plot.nonsense"]) == 1
    assert "plot.nonsense cannot be written" in capsys.readouterr().err


def test_what_is_no_run_is_told_in_a_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "absent")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {tmp_path / 'absent'} does not exist\n"
