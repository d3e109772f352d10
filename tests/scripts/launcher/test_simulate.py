from pathlib import Path

import pytest

from scripts.launcher.simulate import main
from scripts.processes.superlink import Launch
from tests.support.full_disk import FULL, fail


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(Launch, "create", started)


def refusal(config: str, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of a run config that it refuses, and that it has made nothing."""
    assert main(["--output-dir", str(output), "-c", config]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not output.exists()
    return error


def test_the_run_config_itself_is_checked_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "learning-rate" in refusal("learning-rate=-1.0", tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('strategy="fedavg"', "is not known; did you mean FedAvg?"),
        ('strategy="delta_fedavg"', "is not known; did you mean delta-fedavg?"),
        ('strategy="FedAdam(etaa=1)"', "has no option etaa; it takes "),
        ("strategy=\"FedAdam(eta='x')\"", "eta = 'x' must be a number"),
        ('strategy="FedAvg(fraction_fit=0.5)"', "has a run-config key of its own"),
        ('strategy="Bulyan(num_malicious_clients=2)"', "Bulyan 4 f + 3"),
        ('aggregator="trimed-mean"', "did you mean trimmed-mean?"),
        ('aggregator="adam"', "adam is a server-optimizer; "),
        ('aggregator="trimmed-mean(trim_fraction=0.7)"', "must be in [0, 0.5)"),
        ('aggregator="krum(num_malicious=1.5)"', "must be a whole number"),
        ('server-optimizer="adam(lrr=1)"', "has no option lrr; it takes lr"),
        ('codec="top-k(fraction=2.0)"', "fraction = 2.0: must be more than 0"),
        ('lr-schedule="cosin"', "did you mean cosine?"),
        ('lr-schedule="step(every=0)"', "every = 0 must be at least 1"),
        ('server-lr-schedule="constant(x=1)"', "has no option x; it takes none"),
        ('adversary="sign-flp"', "did you mean sign-flip?"),
        ('adversary="sign-flip"', "makes nobody lie"),
        ('partitioner="dirichlet(alfa=1)"', "has no option alfa; it takes alpha; did you mean"),
        ('partitioner="shards(each=0)"', "shards-per-participant = 0 is not allowed"),
        ('model="simplecnn"', "did you mean simple-cnn?"),
        ('model="simple-cnn(width=3)"', "has no option width; it takes none"),
        ('model="/no/such/file.py:Net"', "cannot be imported"),
        ('dataset="minst"', "did you mean mnist?"),
        ('dataset="digits(x=1)"', "has no option x; it takes none"),
        ('dataset="/no/such/file.py:load"', "cannot be imported"),
        ("dataset=\"own\" class-names='a,b'", "use scripts/federation --node NAME=DATA"),
    ],
)
def test_a_wrong_name_or_option_of_a_part_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, told: str
) -> None:
    assert told in refusal(config, tmp_path / "out", capsys)


def test_a_working_directory_that_was_deleted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert main([]) == 2
    assert capsys.readouterr().err.startswith("error: the folder that you are in does not exist")


def test_a_full_disk_for_temporary_files_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Launch, "create", fail(FULL))

    assert main([]) == 1
    assert capsys.readouterr().err == (
        "error: no temporary folder can be made: [Errno 28] No space left on device\n"
    )
