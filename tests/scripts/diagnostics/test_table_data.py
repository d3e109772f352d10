"""What the doctor says of a participant's table."""

from pathlib import Path

import pytest

from scripts.diagnostics import doctor
from scripts.diagnostics.report import Finding, guarded
from tests.scripts.diagnostics.doctor_findings import failures

TASK = "table(target='ill', classes='no,yes', ignore='name'{})"


def findings(path: Path, more: str = "") -> list[Finding]:
    options = doctor.parse(["--data", str(path), "--task", TASK.format(more)])
    return list(guarded("data", lambda: doctor._data(options)))


@pytest.fixture
def north(tmp_path: Path) -> Path:
    path = tmp_path / "north.csv"
    rows = [f"p{i},{40 + i},{'m' if i % 2 else ''},{'yes' if i % 3 else 'no'}" for i in range(12)]
    path.write_text("\n".join(["name,age,sex,ill", *rows]))
    return path


def test_columns_missing_shares_and_classes_are_told(north: Path) -> None:
    found = findings(north)
    assert not failures(found)
    data, columns = (finding.message for finding in found)
    assert data == "12 rows with a target: no 4, yes 8"
    assert columns.split("\n")[1:] == [
        "name: ignored, 0% missing",
        "age: numbers, 0% missing",
        "sex: categories, 50% missing",
        "ill: the target, 0% missing",
    ]


def test_what_a_run_would_remark_is_a_warning(north: Path) -> None:
    found = findings(north, ", numeric='age', moments='age:50:9'")
    (warning,) = [finding.message for finding in found if finding.level == "warn"]
    assert "not used, since they were not agreed on: sex. Is that so?" in warning


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (", numeric='weight'", "no column 'weight'"),
        (", numeric='age,sex'", "column 'sex', row 3: 'm' is no number"),
        (", kind='sorting'", "neither classification nor regression"),
    ],
)
def test_what_a_run_would_refuse_is_a_failure(north: Path, more: str, told: str) -> None:
    (failure,) = failures(findings(north, more))
    assert told in failure


def test_a_task_of_another_kind_is_refused(north: Path) -> None:
    options = doctor.parse(["--data", str(north), "--task", "image-classification"])
    (failure,) = failures(list(guarded("data", lambda: doctor._data(options))))
    assert "is not the task table" in failure


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "x.csv"],
        ["--task", "table()"],
        ["--data", "x", "--task", "t", "--thumbnails", "y"],
    ],
)
def test_options_that_lack_their_partner_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        doctor.parse(arguments)
    assert "--task" in capsys.readouterr().err
