"""Torchvision's models by name: log-probabilities, classes, channels, weights from a file."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.tasks.images import pretrained
from fl_app.tasks.images.image_classification import ImageClassification
from fl_app.tasks.registry import initial_model
from strategies.part_specs import PartError
from strategies.registry import build_part, check_name, is_path


def own(**options: object) -> ImageClassification:
    """A task of three classes of participants' own pictures."""
    defaults = {"model": "resnet18", "dataset": "own", "class_names": "a,b,c", "image_size": 64}
    return ImageClassification(**defaults | options)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small"])
def test_a_model_by_its_name_has_the_classes_and_channels_of_the_data(name: str, channels: int):
    model = initial_model(own(model=name, image_channels=channels), seed=1).eval()

    with torch.no_grad():
        outputs = model(torch.randn(2, channels, 64, 64))

    assert outputs.shape == (2, 3)
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(2))
    assert vars(model)["num_classes"] == 3
    assert vars(model)["image_shape"] == (channels, 64, 64)


def test_a_model_that_must_know_the_size_is_told_it():
    model = initial_model(own(model="vit_b_32", image_size=32), seed=1).eval()

    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_an_auxiliary_head_is_left_out():
    model = initial_model(own(model="googlenet"), seed=1).train()

    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 3)
    assert not any(name.startswith("aux") for name, _ in model.named_parameters())


def test_a_named_data_set_tells_classes_and_channels():
    model = initial_model(ImageClassification("resnet18", "digits"), seed=1)

    assert model.state_dict()["conv1.weight"].shape == (64, 1, 7, 7)
    assert model.state_dict()["fc.weight"].shape == (10, 512)


def test_where_the_number_of_classes_is_not_known_it_is_asked_for():
    with pytest.raises(ConfigError, match=r"say resnet18\(num_classes=2\)"):
        ImageClassification("resnet18", "/home/me/data.py:load").build_model()
    model = ImageClassification("resnet18(num_classes=7)", "/home/me/data.py:load").build_model()
    assert model.state_dict()["fc.bias"].shape == (7,)


def test_the_initial_weights_depend_on_the_seed_alone():
    first, again, other = (initial_model(own(), seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_a_name_that_is_nearly_one_is_suggested(run_config: dict[str, Any]):
    check_name("model", "resnet18")
    assert not is_path("model", "resnet18")
    with pytest.raises(PartError, match=r"did you mean resnet18\? .*torchvision's classification"):
        check_name("model", "resnet-18")
    with pytest.raises(ConfigError, match=r"did you mean simple-cnn\?"):
        RunConfig.from_run_config(run_config | {"model": "simpel-cnn"})
    with pytest.raises(PartError, match="has no option width; it takes num_classes"):
        build_part("model", "resnet18(width=2)")


def saved(path: Path, classes: int) -> tuple[Path, dict[str, torch.Tensor]]:
    torch.manual_seed(5)
    state = models.resnet18(num_classes=classes).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path, state


@pytest.fixture(autouse=True)
def _told_anew() -> None:
    pretrained._say_once.cache_clear()
    pretrained._read.cache_clear()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_weights_of_a_file_are_taken_and_the_last_layer_is_begun_anew(
    tmp_path: Path, name: str, flower_log: pytest.LogCaptureFixture
):
    path, state = saved(tmp_path / name, classes=1000)
    with flower_log.at_level(logging.INFO, "flwr"):
        model = initial_model(own(pretrained_weights=str(path)), seed=1)
        initial_model(own(pretrained_weights=str(path)), seed=1)

    found, fresh = model.state_dict(), initial_model(own(), seed=1).state_dict()
    for tensor in found:
        expected = fresh if tensor.startswith("fc.") else state
        assert torch.equal(found[tensor], expected[tensor]), tensor
    told = [r.getMessage() for r in flower_log.records]
    assert len(told) == 2  # weight and bias, once
    assert "fc.weight has shape [1000, 512], and the model needs [3, 512]" in told[0]
    assert "its last layer, fc, begins with random weights" in told[0]


def test_a_last_layer_that_fits_is_taken(tmp_path: Path):
    path, state = saved(tmp_path / "w.pth", classes=3)
    model = initial_model(own(pretrained_weights=str(path)), seed=1)

    assert torch.equal(model.state_dict()["fc.weight"], state["fc.weight"])


def test_weights_for_colour_serve_for_grey_as_if_it_were_colour(tmp_path: Path):
    path, _ = saved(tmp_path / "w.pth", classes=3)
    text = str(path)
    colour = initial_model(own(pretrained_weights=text), seed=1).eval()
    grey = initial_model(own(pretrained_weights=text, image_channels=1), seed=1).eval()
    images = torch.randn(2, 1, 64, 64)

    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(images.expand(2, 3, 64, 64)))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def test_what_is_no_state_dict_of_the_model_is_refused(tmp_path: Path, capsys):
    path, state = saved(tmp_path / "other.pth", classes=3)
    torch.save({**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    torch.save({"conv1.weight": state["conv1.weight"]}, tmp_path / "part.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Evil(), tmp_path / "evil.pth")
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    expected = {
        "other.pth": r"conv1.weight has shape \[64, 3, 3, 3\], not \[64, 3, 7, 7\]",
        "part.pth": "it lacks 101 of 122 tensors",
        "list.pth": "holds no mapping",
        "evil.pth": "no readable state dict",
        "text.pth": "no readable state dict",
        "text.safetensors": "no readable state dict",
        "absent.pth": "No such file",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigError, match=message):
            own(pretrained_weights=str(tmp_path / name)).build_model()
    with pytest.raises(ConfigError, match="must be an absolute path"):
        own(pretrained_weights="weights.pth").build_model()
    assert "must not run" not in capsys.readouterr().out


def test_a_nested_state_dict_is_found(tmp_path: Path):
    path, state = saved(tmp_path / "w.pth", classes=3)
    torch.save({"epoch": 3, "state_dict": state}, path)

    model = own(pretrained_weights=str(path)).build_model()
    assert torch.equal(model.state_dict()["conv1.weight"], state["conv1.weight"])


def test_a_model_of_ones_own_that_takes_a_number_of_classes_gets_it(tmp_path: Path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def net(num_classes=4, width=2):\n"
        "    return nn.Linear(width, num_classes)\n"
    )
    assert own(model=f"{file}:net(width=5)").build_model().weight.shape == (3, 5)
    assert own(model=f"{file}:net(num_classes=8)").build_model().weight.shape == (8, 2)


def test_simple_cnn_says_what_it_takes():
    task = own(model="simple-cnn", class_names=",".join("abcdefghijk"), image_size=0)
    with pytest.raises(ConfigError, match=r"11 names.* 10 classes apart.*resnet18"):
        task.check_own_data()
    for options in ({"image_size": 64}, {"image_channels": 3, "image_size": 0}):
        with pytest.raises(ConfigError, match=r"simple-cnn takes 1x28x28.*resnet18"):
            own(model="simple-cnn", **options).check_own_data()
    own(model="simple-cnn", image_size=28).check_own_data()
    with pytest.raises(ConfigError, match="set image-size, to which images are resized"):
        own(image_size=0).check_own_data()
