import pytest

from scripts.launcher.simulate import main


def test_the_run_config_itself_is_checked_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-c", "learning-rate=-1.0"]) == 2

    error = capsys.readouterr().err
    assert "learning-rate" in error
    assert "Traceback" not in error
