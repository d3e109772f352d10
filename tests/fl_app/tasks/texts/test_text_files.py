"""Text files are found and read; what cannot be used is refused by name."""

import os

import pytest

from fl_app.core.errors import DataError
from fl_app.tasks.texts.text_files import read_texts

PLENTY = 1000


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt").replace("_md", ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_all_texts_below_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    write(tmp_path, b_txt="second", a__z_md="first", B_txt="zeroth")

    found = read_texts(tmp_path, PLENTY)

    assert [path.relative_to(tmp_path).as_posix() for path, _ in found.texts] == [
        "B.txt",
        "a/z.md",
        "b.txt",
    ]
    assert [text for _, text in found.texts] == ["zeroth", "first", "second"]
    assert found.remarks == ()


def test_a_file_may_be_named_by_itself_whatever_it_is_called(tmp_path):
    (tmp_path / "diary").write_text("Dear diary", encoding="utf-8")

    assert [text for _, text in read_texts(tmp_path / "diary", PLENTY).texts] == ["Dear diary"]


def test_what_is_left_out_is_counted(tmp_path):
    write(tmp_path, a_txt="text", b_txt="", c_txt=" \n", _=b"x")
    write(tmp_path, **{".hidden.txt": "secret", ".git__d_txt": "secret", "picture.png": b"\x89"})

    found = read_texts(tmp_path, PLENTY)

    assert [text for _, text in found.texts] == ["text"]
    assert found.remarks == (
        f"{tmp_path}: left out 2 files: hidden",
        f"{tmp_path}: left out 2 files: not .txt or .md",
        f"{tmp_path}: left out 2 files: empty",
    )


def test_the_mark_at_the_beginning_of_a_file_is_no_part_of_its_text(tmp_path):
    write(tmp_path, a_txt="\ufefftext")

    assert read_texts(tmp_path, PLENTY).texts[0][1] == "text"


def test_a_file_that_is_not_utf_8_is_named_with_the_byte(tmp_path):
    write(tmp_path, a_txt=b"fine\ncaf\xe9 noir", b_txt="fine")

    with pytest.raises(DataError, match=r"a\.txt is not UTF-8: byte 8 \(0xe9, in line 2\)"):
        read_texts(tmp_path, PLENTY)


def test_utf_16_is_recognised(tmp_path):
    write(tmp_path, a_txt="text".encode("utf-16"))

    with pytest.raises(DataError, match=r"a\.txt .* It looks like UTF-16\. Save it as UTF-8"):
        read_texts(tmp_path, PLENTY)


def test_of_many_files_that_cannot_be_used_five_are_named(tmp_path):
    write(tmp_path, **{f"{number}_txt": b"\xff" for number in range(7)})

    with pytest.raises(DataError, match=r"(?s)7 files below .*0\.txt.*4\.txt.*and 2 more") as error:
        read_texts(tmp_path, PLENTY)
    assert "5.txt" not in str(error.value)


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no text: no file below it ends in \.txt or \.md"):
        read_texts(tmp_path, PLENTY)


def test_a_folder_of_empty_texts_is_refused(tmp_path):
    write(tmp_path, a_txt="")

    with pytest.raises(DataError, match="holds no text: 1 file below it, all of them empty"):
        read_texts(tmp_path, PLENTY)


def test_what_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist on this machine"):
        read_texts(tmp_path / "nowhere", PLENTY)


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path):
    write(tmp_path, a_txt="text")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)

    with pytest.raises(DataError, match="again is a link to a folder"):
        read_texts(tmp_path, PLENTY)


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "lost.txt").symlink_to(tmp_path / "gone")

    with pytest.raises(DataError, match=r"lost\.txt is a link that leads nowhere"):
        read_texts(tmp_path, PLENTY)


def test_a_link_that_leads_to_itself_is_refused(tmp_path):
    (tmp_path / "self.txt").symlink_to(tmp_path / "self.txt")

    with pytest.raises(DataError, match=r"self\.txt"):
        read_texts(tmp_path, PLENTY)


@pytest.mark.parametrize("within", [True, False])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, within):
    os.mkfifo(tmp_path / "pipe.txt")

    with pytest.raises(DataError, match=r"pipe\.txt is no ordinary file"):
        read_texts(tmp_path if within else tmp_path / "pipe.txt", PLENTY)


def test_too_much_text_is_refused_at_the_file_that_is_too_much(tmp_path):
    write(tmp_path, a_txt="x" * 600, b_txt="x" * 401)

    with pytest.raises(DataError, match=r"b\.txt: .* raise max_megabytes"):
        read_texts(tmp_path, PLENTY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    write(tmp_path, a_txt="text")
    (tmp_path / "a.txt").chmod(0)

    with pytest.raises(DataError, match=r"a\.txt cannot be read: Permission denied"):
        read_texts(tmp_path, PLENTY)
