import io

from rich.console import Console

from scripts.launcher.run_log import Display

LINE = (
    "\x1b[92mINFO \x1b[0m: round 3/10 | central accuracy 97.10% loss 0.1 | 4.0 s | "
    "about 28 s left\n"
)


def test_without_a_terminal_lines_are_passed_on_as_they_are(capsys):
    with Display() as display:
        display.show(LINE)
        display.show("last line without a break")
    assert capsys.readouterr().out == LINE + "last line without a break\n"


def test_on_a_terminal_the_next_round_the_score_and_the_time_left_stay_in_sight():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, soft_wrap=True)
    with Display(console) as display:
        display.show(LINE)
        assert display._progress is not None
        display._progress.refresh()
    written = screen.getvalue()
    assert "round 3/10 | central accuracy 97.10%" in written
    assert "round 4/10" in written
    assert "central accuracy 97.10% loss 0.1, about 28 s left" in written
