"""What the doctor says of a participant's data."""

from pathlib import Path

import numpy as np
from PIL import Image

from scripts.diagnostics import doctor
from scripts.diagnostics.report import guarded
from tests.scripts.diagnostics.doctor_findings import failures, options


def test_data_is_counted_and_drawn(pictures: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "look.png"
    given = doctor.parse(options(pictures, "--image-shape", "1,8,8", "--thumbnails", str(drawn)))
    found = guarded("data", lambda: doctor._data(given))
    assert not failures(found)
    shown = {f.message for f in found if f.check == "classes"}
    assert "dark 5+1, none 0+0, light 5+1" in shown
    assert any("none" in f.message for f in found if f.level == "warn")
    with Image.open(drawn) as image:
        grey = np.asarray(image.convert("L"))
    counts = np.bincount(grey.ravel(), minlength=256)
    assert min(counts[60:63].sum(), counts[250:253].sum()) > 5000


def test_data_that_does_not_fit_is_one_line(pictures: Path) -> None:
    found = guarded("data", lambda: doctor._data(doctor.parse(options(pictures))))
    assert "28 wide and 28 high" in failures(found)[0]
    assert len(found) == 1


def test_thumbnails_that_cannot_be_written_are_a_line(pictures: Path, tmp_path: Path) -> None:
    given = doctor.parse(
        options(pictures, "--image-shape", "1,8,8", "--thumbnails", str(tmp_path / "no" / "a.png"))
    )
    assert "cannot be written" in failures(guarded("data", lambda: doctor._data(given)))[0]


def test_what_the_reader_converts_is_told(pictures: Path) -> None:
    grey = next(pictures.rglob("*.png"))
    with Image.open(grey) as image:
        image.convert("RGB").save(grey)
    given = doctor.parse(options(pictures, "--image-shape", "1,8,8"))
    found = guarded("data", lambda: doctor._data(given))
    assert not failures(found)
    warned = [f.message for f in found if f.level == "warn"]
    assert any("red, green and blue to grey, 1 of 12 pictures" in message for message in warned)


def test_two_folders_of_one_class_fail(pictures: Path) -> None:
    copy = pictures / "light "
    copy.mkdir()
    next((pictures / "dark").iterdir()).rename(copy / "lost.png")
    given = doctor.parse(options(pictures, "--image-shape", "1,8,8"))
    (failure,) = failures(guarded("data", lambda: doctor._data(given)))
    assert "both stand for the class 'light'" in failure
