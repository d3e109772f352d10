"""A participant's own data: what is read, what is refused and how, what is held out."""

import logging
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fl_app.core.errors import DataError
from fl_app.data.local_files.loader import OwnDataSpec, load_own_data
from fl_app.data.local_files.schema import LabelledImages
from fl_app.data.local_files.split import hold_out
from fl_app.data.tensor_dataset import Examples, normalise
from tests.support.idx_files import write_idx_set

SIZE = 6
CLASSES = ("cat", "dog", "T-shirt/top")


def make_spec(data: Path, **changes: Any) -> OwnDataSpec:
    spec = OwnDataSpec(
        data=data,
        test_data=None,
        class_names=CLASSES,
        image_shape=(1, SIZE, SIZE),
        mean=0.1307,
        std=0.3081,
        holdout_fraction=0.25,
        seed=42,
        participant="north",
    )
    return replace(spec, **changes)


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 256, (count, *shape), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of cats, eight of dogs, no shirts."""
    for index, array in enumerate(pixels(16, SIZE, SIZE)):
        save(tmp_path / "site" / CLASSES[index % 2] / f"{index:02}.png", array)
    return tmp_path / "site"


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez(tmp_path / "site.npz", images=pixels(12, SIZE, SIZE), labels=np.arange(12) % 3)
    return tmp_path / "site.npz"


def save_npz(path: Path, **arrays: Any) -> Path:
    defaults = {"images": pixels(12, SIZE, SIZE), "labels": np.arange(12) % 3}
    np.savez(path / "own.npz", **defaults | arrays)
    return path / "own.npz"


def refusal(spec: OwnDataSpec) -> str:
    with pytest.raises(DataError) as refused:
        load_own_data(spec)
    return str(refused.value)


def everything(spec: OwnDataSpec) -> Examples:
    """All examples in the order of the source."""
    return load_own_data(replace(spec, holdout_fraction=0.0)).train


# Reading


def test_folder_is_read_in_the_order_of_classes_and_names(folder: Path) -> None:
    array = pixels(1, SIZE, SIZE, seed=9)[0]
    save(folder / "cat" / "deeper" / "down.bmp", array)
    save(folder / "T-shirt_top" / "a.png", array)
    examples = everything(make_spec(folder, mean=0.0, std=1.0))
    assert examples.labels.tolist() == [0] * 9 + [1] * 8 + [2]
    drawn = pixels(16, SIZE, SIZE)
    expected = np.concatenate([drawn[::2], array[None], drawn[1::2], array[None]])
    assert torch.equal(examples.images, torch.from_numpy(expected).unsqueeze(1).float() / 255)


def test_pixels_are_standardised_exactly_as_the_built_in_sets_are(npz: Path) -> None:
    examples = everything(make_spec(npz))
    assert torch.equal(examples.images, normalise(pixels(12, SIZE, SIZE), 0.1307, 0.3081))
    assert examples.images.dtype == torch.float32
    assert examples.labels.dtype == torch.int64


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_mean_the_same_as_bytes(tmp_path: Path, dtype: type) -> None:
    floats: np.ndarray = (pixels(12, SIZE, SIZE) / 255).astype(dtype)
    examples = everything(make_spec(save_npz(tmp_path, images=floats)))
    expected = normalise(pixels(12, SIZE, SIZE), 0.1307, 0.3081)
    assert torch.allclose(examples.images, expected, atol=2e-3 if dtype is np.float16 else 1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_colour_may_come_first_or_last(tmp_path: Path, channels_last: bool) -> None:
    images = pixels(12, 3, SIZE, SIZE)
    stored = images.transpose(0, 2, 3, 1) if channels_last else images
    spec = make_spec(save_npz(tmp_path, images=stored), image_shape=(3, SIZE, SIZE))
    expected = torch.from_numpy(images.astype(np.float32) / 255)
    assert torch.allclose(everything(replace(spec, mean=0, std=1)).images, expected, atol=1e-7)


def test_colour_pictures_and_palettes_give_red_green_blue(tmp_path: Path) -> None:
    array = pixels(1, SIZE, SIZE, 3)[0]
    save(tmp_path / "cat" / "a.png", array)
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 255, 0, 51])
    palette.save(tmp_path / "cat" / "b.png")
    spec = make_spec(tmp_path, image_shape=(3, SIZE, SIZE), mean=0.0, std=1.0)
    first, second = everything(spec).images
    assert torch.allclose(first, torch.from_numpy(array / np.float32(255)).permute(2, 0, 1))
    assert torch.allclose(second[:, 2, 3], torch.tensor([1.0, 0.0, 0.2]))


def test_grey_palettes_and_black_and_white_are_grey(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 51, 51, 51])
    palette.save(tmp_path / "cat" / "a.png")
    Image.new("1", (SIZE, SIZE), 1).save(tmp_path / "cat" / "b.png")
    images = everything(make_spec(tmp_path, mean=0.0, std=1.0)).images
    assert torch.allclose(images[:, 0, 0, 0], torch.tensor([0.2, 1.0]))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    wide = pixels(1, 4, SIZE)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    save(tmp_path / "cat" / "a.png", wide, exif=exif)
    spec = make_spec(tmp_path, image_shape=(1, SIZE, 4), mean=0.0, std=1.0)
    expected = np.rot90(wide, -1).astype(np.float32) / 255
    assert np.allclose(everything(spec).images[0, 0].numpy(), expected)


@pytest.mark.parametrize("names", [["cat", "T-shirt/top"], [b"cat", b"T-shirt/top"]])
def test_labels_may_be_names(tmp_path: Path, names: list[str] | list[bytes]) -> None:
    path = save_npz(tmp_path, labels=np.array(names * 6))
    assert everything(make_spec(path)).labels.tolist() == [0, 2] * 6


def test_names_are_equal_however_their_accents_are_stored(tmp_path: Path) -> None:
    save(tmp_path / "cafe\N{COMBINING ACUTE ACCENT}" / "a.png", pixels(1, SIZE, SIZE)[0])
    spec = make_spec(tmp_path, class_names=("tea", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"))
    assert everything(spec).labels.tolist() == [1]


def write_idx(folder: Path, part: str) -> Path:
    made = write_idx_set(folder / "all")
    own = folder / part
    own.mkdir()
    for path in made.glob(f"{part}*"):
        path.rename(own / path.name)
    return own


def test_idx_files_are_read(tmp_path: Path) -> None:
    own = write_idx(tmp_path, "train")
    (own / "._train-images-idx3-ubyte").write_bytes(b"left behind by macOS")
    names = tuple(map(str, range(10)))
    examples = everything(make_spec(own, class_names=names, image_shape=(1, 28, 28)))
    raw = (own / "train-images-idx3-ubyte").read_bytes()[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(4, 28, 28)
    assert torch.equal(examples.images, normalise(expected, 0.1307, 0.3081))
    assert examples.labels.tolist() == list((own / "train-labels-idx1-ubyte").read_bytes()[8:])


def test_hidden_and_known_junk_is_skipped_and_an_absent_class_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for junk in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png", "dog/.cache/a.png"):
        (folder / junk).parent.mkdir(exist_ok=True)
        (folder / junk).write_bytes(b"junk")
    with caplog.at_level(logging.INFO, "flwr"):
        assert len(everything(make_spec(folder))) == 16
    assert "skipped 4 hidden files" in caplog.text
    assert "no examples of: T-shirt/top" in caplog.text


def test_test_data_of_its_own_leaves_all_data_for_training(folder: Path, npz: Path) -> None:
    local = load_own_data(make_spec(folder, test_data=npz))
    assert (len(local.train), len(local.test)) == (16, 12)
    assert "different ones" in refusal(make_spec(npz, test_data=npz))


# Refusing: every message names the file, what is wrong, and what would be right


def test_unknown_folder_is_named_with_the_agreed_classes(folder: Path) -> None:
    (folder / "Dogs").mkdir()
    told = refusal(make_spec(folder))
    assert "Dogs" in told
    assert "Did you mean 'dog'?" in told
    assert "cat, dog, T-shirt/top" in told


@pytest.mark.parametrize("labels", [np.array(["cat", "cow"] * 6), np.arange(12), -np.arange(12)])
def test_unknown_label_is_named_with_the_agreed_classes(tmp_path: Path, labels: Any) -> None:
    told = refusal(make_spec(save_npz(tmp_path, labels=labels)))
    assert "own.npz" in told
    assert any(wrong in told for wrong in ("'cow'", "label 3", "label -1"))
    assert "cat, dog, T-shirt/top" in told


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": pixels(12, SIZE, 7)}, f"(12, {SIZE}, 7)"),
        ({"images": pixels(12, 3, SIZE, SIZE)}, "1 channel"),
        ({"images": pixels(11, SIZE, SIZE)}, "11 images but 12 labels"),
        ({"images": pixels(0, SIZE, SIZE), "labels": np.arange(0)}, "holds no images"),
        ({"images": pixels(12, SIZE, SIZE).astype(np.int32)}, "int32"),
        ({"images": np.full((12, SIZE, SIZE), 2.5)}, "from 2.5 to 2.5"),
        ({"images": np.full((12, SIZE, SIZE), -0.1)}, "between 0 (black) and 1 (white)"),
        ({"images": np.full((12, SIZE, SIZE), np.nan)}, "image 0"),
        ({"images": np.full((12, SIZE, SIZE), np.inf)}, "not a finite number"),
        ({"labels": np.arange(12) % 3 / 1.0}, "float64"),
        ({"labels": np.array(["cat"] * 12, object)}, "object"),
        ({"labels": np.eye(12, dtype=np.int64)}, "one label per image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    message = refusal(make_spec(save_npz(tmp_path, **arrays)))
    assert told in message
    assert "own.npz" in message


def test_one_bad_pixel_among_good_ones_is_found(tmp_path: Path) -> None:
    images = pixels(12, SIZE, SIZE) / 255
    images[7, 2, 3] = np.nan
    assert "image 7 has a pixel" in refusal(make_spec(save_npz(tmp_path, images=images)))


def test_other_npz_files_are_refused(tmp_path: Path, npz: Path) -> None:
    np.savez(tmp_path / "other.npz", x_train=np.zeros(3))
    assert "x_train" in refusal(make_spec(tmp_path / "other.npz"))
    npz.write_bytes(npz.read_bytes()[:-400])
    assert "not an intact .npz" in refusal(make_spec(npz))
    assert "does not exist" in refusal(make_spec(tmp_path / "none"))
    (tmp_path / "data.csv").write_text("1,2")
    assert "neither a folder nor an .npz" in refusal(make_spec(tmp_path / "data.csv"))


def test_an_array_too_large_for_the_machine_is_not_unpacked(
    npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_app.data.local_files.schema.physical_memory", lambda: 2**10)
    monkeypatch.setattr(np, "load", lambda *_args, **_options: pytest.fail("unpacked"))
    assert "holds 12 images, which take" in refusal(make_spec(npz))


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def animate(path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in pixels(2, SIZE, SIZE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def colourful(path: Path) -> None:
    palette = Image.new("P", (SIZE, SIZE), 1)
    palette.putpalette([0, 0, 0, 255, 0, 51])
    palette.save(path)


def transparent(path: Path) -> None:
    Image.fromarray(pixels(1, SIZE, SIZE)[0]).save(path, transparency=7)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: save(path, pixels(1, 5, 7)[0]), "is 7 pixels wide and 5 high"),
        (lambda path: save(path, pixels(1, SIZE, SIZE, 3)[0]), "3 channels (Pillow's mode RGB)"),
        (lambda path: save(path, np.zeros((SIZE, SIZE), np.uint16)), "more than 8 bits"),
        (lambda path: path.write_text("notes"), "not an intact picture"),
        (lambda path: path.write_bytes(b""), "not an intact picture"),
        (cut, "is damaged"),
        (bomb, "far larger"),
        (animate, "several frames"),
        (colourful, "a palette of colours"),
        (transparent, "transparent"),
    ],
)
def test_a_file_that_is_no_fitting_picture_is_named(folder: Path, spoil: Any, told: str) -> None:
    spoiled = folder / "dog" / "03.png"
    spoil(spoiled)
    message = refusal(make_spec(folder))
    assert str(spoiled) in message
    assert told in message


def test_many_bad_files_are_told_at_once_but_not_all(folder: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.write_text("not a picture")
    told = refusal(make_spec(folder))
    assert told.startswith("8 files below")
    assert told.count("\n  - ") == 6
    assert told.endswith("and 3 more")


def test_folders_without_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refusal(make_spec(tmp_path / "empty"))
    (tmp_path / "empty" / "cat").mkdir()
    assert "holds no pictures" in refusal(make_spec(tmp_path / "empty"))
    (folder / "loose.png").write_bytes(b"")
    assert "beside the class folders" in refusal(make_spec(folder))


def test_links_to_folders_are_not_lost_in_silence(folder: Path) -> None:
    (folder / "cat" / "more").symlink_to(folder / "dog", target_is_directory=True)
    assert "is a link to a folder" in refusal(make_spec(folder))


def test_idx_files_that_are_no_pair_are_refused(tmp_path: Path) -> None:
    both = write_idx_set(tmp_path / "both")
    spec = make_spec(both, class_names=tuple("0123456789"), image_shape=(1, 28, 28))
    assert "2 IDX files of images and 2 of labels" in refusal(spec)
    for path in both.glob("t10k*"):
        path.unlink()
    labels = both / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:8] + bytes((0, 1, 2, 77)))
    assert "label 77" in refusal(spec)
    labels.write_bytes(b"broken")
    told = refusal(spec)
    assert "cut short" in told
    assert "download" not in told
    labels.rename(both / "train-labels-idx1-ubyte.gz")
    assert "gunzip" in refusal(spec)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": ()},
        {"class_names": ("a/b", "a_b")},
        {"image_shape": (1, 0, 4)},
        {"std": 0.0},
        {"mean": float("nan")},
        {"holdout_fraction": 1.0},
        {"holdout_fraction": -0.1},
    ],
)
def test_a_specification_that_cannot_be_is_refused(npz: Path, changes: dict[str, Any]) -> None:
    assert refusal(make_spec(npz, **changes))


# Holding out


def contents(examples: Examples) -> set[bytes]:
    return {image.numpy().tobytes() for image in examples.images}


def test_held_out_examples_do_not_depend_on_the_names_or_order_of_files(folder: Path) -> None:
    before = load_own_data(make_spec(folder))
    for index, path in enumerate(sorted((folder / "cat").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed-{index}.png"))
    after = load_own_data(make_spec(folder))
    assert contents(before.test) == contents(after.test)
    assert contents(before.train) == contents(after.train)


@pytest.mark.parametrize("changes", [{"seed": 43}, {"participant": "south"}])
def test_another_seed_or_participant_holds_out_others(
    folder: Path, changes: dict[str, Any]
) -> None:
    one, other = load_own_data(make_spec(folder)), load_own_data(make_spec(folder, **changes))
    assert contents(one.test) != contents(other.test)
    assert one.test.labels.tolist() == other.test.labels.tolist() == [0, 0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda c: max(c) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63),
)
def test_hold_out_divides_by_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    data = LabelledImages(pixels(len(labels), 1, 3, 3, seed=1), labels)
    train, test = hold_out(data, fraction, seed, "north")
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    kept = np.bincount(labels[train], minlength=len(counts))
    present = np.array(counts) > 0
    assert np.array_equal(kept > 0, present)
    assert len(test) == min(max(1, round(fraction * len(labels))), sum(c - 1 for c in counts if c))
    held = np.array(counts) - kept
    capped = held == np.maximum(np.array(counts) - 1, 0)
    exact = fraction * np.array(counts)
    assert (np.abs(held - exact)[~capped] <= len(counts)).all()


def test_too_few_to_hold_out_is_refused_unless_none_is_wanted(tmp_path: Path) -> None:
    path = save_npz(tmp_path, images=pixels(2, SIZE, SIZE), labels=np.array([0, 1]))
    assert "too few examples (2" in refusal(make_spec(path))
    local = load_own_data(make_spec(path, holdout_fraction=0.0))
    assert (len(local.train), len(local.test)) == (2, 0)
