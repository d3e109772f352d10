"""What of a model is federated, and which models cannot be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fl_app.core.errors import ConfigError
from fl_app.tasks.model.federated_checks import check_federated
from fl_app.tasks.model.federated_model import model_spec, trained_parameters
from fl_app.tasks.model.parameters import get_weights, load_state, set_weights, state_arrays
from strategies.core.model_spec import TensorSpec
from tests.fl_app.tasks.normalised_model import Normalised
from tests.fl_app.tasks.own_models import Complex, FrozenBackbone, Narrow, Tied


def test_a_tied_tensor_is_one_tensor_with_two_names():
    spec = model_spec(Tied())

    assert spec.names == ["first.weight", "inner.weight", "fc.weight", "fc.bias"]
    assert spec.tensors[1] == TensorSpec(
        "inner.weight", (12, 12), "float32", trainable=True, tied_to=("again.weight",)
    )
    assert list(trained_parameters(Tied())) == spec.names


def test_statistics_travel_and_are_not_trained():
    spec = model_spec(Normalised())

    statistics = [tensor.name for tensor in spec.tensors if not tensor.trainable]
    assert statistics == ["norm.running_mean", "norm.running_var"]


def test_what_is_frozen_does_not_travel_and_is_identified_by_its_values():
    spec, same, other = (model_spec(FrozenBackbone(seed)) for seed in (0, 0, 1))
    unfrozen = FrozenBackbone()
    unfrozen.requires_grad_(True)

    assert spec.names == ["head.weight", "head.bias"]
    assert spec.sha256 == same.sha256 == other.sha256
    assert spec.frozen_sha256 == same.frozen_sha256 != other.frozen_sha256
    assert model_spec(unfrozen).frozen_sha256 == ""


def test_the_digest_of_what_is_frozen_does_not_depend_on_its_layout():
    torch.manual_seed(3)
    weight = torch.randn(4, 3, 2, 2)

    def digest(memory_format: torch.memory_format) -> str:
        convolution = nn.Conv2d(3, 4, 2, bias=False)
        convolution.weight = nn.Parameter(weight.clone(), requires_grad=False)
        model: nn.Module = nn.Sequential(convolution, nn.Linear(1, 1))
        model.to(memory_format=memory_format)
        return model_spec(model).frozen_sha256

    assert digest(torch.contiguous_format) == digest(torch.channels_last)


def test_complex_tensors_travel_as_pairs():
    source, target = Complex(), Complex()

    weights = get_weights(source)
    set_weights(target, weights)

    assert [(w.shape, w.dtype.name) for w in weights] == [
        ((10, 784, 2), "float32"),
        ((10, 2), "float32"),
    ]
    assert torch.equal(source.fc.weight, target.fc.weight)
    assert weights[0][3, 5].tolist() == [
        source.fc.weight[3, 5].real.item(),
        source.fc.weight[3, 5].imag.item(),
    ]


def test_bfloat16_is_float32_in_arrays_and_says_what_it_was_rounded_to():
    model = Narrow()
    weights = get_weights(model)
    assert [w.dtype.name for w in weights] == ["float32", "float32"]
    assert [tensor.dtype for tensor in model_spec(model).tensors] == ["float32", "float32"]
    assert model_spec(model).narrow == (True, True)

    fine = [w + np.float32(2**-12) for w in weights]
    held = set_weights(model, fine)

    assert all(np.array_equal(a, b) for a, b in zip(held, get_weights(model), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(held, fine, strict=True))


@pytest.mark.parametrize("build", [Tied, FrozenBackbone, Complex, Normalised])
def test_a_saved_model_is_one_that_load_state_dict_takes(build: Callable[[], nn.Module]):
    torch.manual_seed(5)
    source, target, plain = build(), build(), build()
    state = state_arrays(source)

    load_state(target, state)
    plain.load_state_dict({name: torch.tensor(array) for name, array in state.items()})

    for loaded in (target, plain):
        for name, tensor in source.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def test_both_names_of_a_tied_tensor_are_saved_with_the_same_values():
    model = Tied()
    weights = [np.full_like(w, index) for index, w in enumerate(get_weights(model))]

    state = state_arrays(model, weights)

    assert (state["inner.weight"] == 1).all()
    assert (state["again.weight"] == 1).all()


# Models that cannot be federated


def _frozen_altogether() -> nn.Module:
    return nn.Linear(2, 2).requires_grad_(False)


def _lazy() -> nn.Module:
    return nn.LazyLinear(3)


def _lazy_buffers() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 1), nn.LazyBatchNorm1d(affine=False))


def _on_meta() -> nn.Module:
    return nn.Linear(2, 2, device="meta")


def _float8() -> nn.Module:
    model = nn.Linear(2, 2)
    model.register_buffer("scale", torch.zeros(2, dtype=torch.float8_e4m3fn))
    return model


def _sparse() -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(torch.eye(2).to_sparse())
    return model


def _two_parameters_on_one_memory() -> nn.Module:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = nn.Parameter(first.weight.data)
    return nn.Sequential(first, second)


def _overlapping() -> nn.Module:
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    second.weight = nn.Parameter(first.weight.data[1:])
    return nn.Sequential(first, second)


def _hidden() -> nn.Module:
    model = nn.Linear(2, 2)

    def drop(module: nn.Module, state: dict[str, object], prefix: str, metadata: object) -> None:
        del state["bias"]

    model.register_state_dict_post_hook(drop)
    return model


def _double_complex() -> nn.Module:
    return nn.Linear(2, 2, dtype=torch.complex128)


def _double_complex_and_frozen() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), _double_complex().requires_grad_(False))


def _with_buffer(tensor: torch.Tensor) -> nn.Module:
    model = nn.Linear(2, 2)
    model.register_buffer("constant", tensor)
    return model


def _masked() -> nn.Module:
    return _with_buffer(torch.full((2, 2), -torch.inf).triu(1))


def _expanded() -> nn.Module:
    return _with_buffer(torch.zeros(1).expand(3))


def _copied_for_the_state_dict() -> nn.Module:
    model = nn.BatchNorm1d(2)

    def copy(module: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
        state["running_mean"] = state["running_mean"].clone()

    model.register_state_dict_post_hook(copy)
    return model


def _one_buffer_in_two_modules() -> nn.Module:
    shared = torch.zeros(1, 2, 3, 4)
    return nn.Sequential(_with_buffer(shared), _with_buffer(shared))


class _FrozenLater(nn.Sequential):
    """As in many recipes for fine-tuning."""

    def train(self, mode: bool = True) -> "_FrozenLater":
        super().train(mode)
        self[0].requires_grad_(False)
        return self


def _frozen_by_train() -> nn.Module:
    return _FrozenLater(nn.Linear(2, 2), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (_double_complex, "weight is torch.complex128; what travels or is saved is one of"),
        (_double_complex_and_frozen, "1.weight is torch.complex128; what travels or is saved"),
        (_masked, "constant begins with 1 values that are not finite"),
        (_expanded, "constant is expanded: several of its values are one in memory"),
        (_copied_for_the_state_dict, "running_mean in its state dict is neither"),
        (_one_buffer_in_two_modules, "0.constant and 1.constant are one buffer in several modules"),
        (_frozen_by_train, r"model.train\(True\) changes which of its parameters have a gradient"),
        (_frozen_altogether, "nothing to train: no parameter has a gradient"),
        (_lazy, "weight has no shape yet"),
        (_lazy_buffers, "1.running_mean has no shape yet"),
        (_on_meta, "weight has no values"),
        (
            _float8,
            "scale is torch.float8_e4m3fn; what travels or is saved is one of float16, bfloat16",
        ),
        (_sparse, "weight has the layout torch.sparse_coo"),
        (_two_parameters_on_one_memory, "0.weight and 1.weight are two tensors on one memory"),
        (_overlapping, "0.weight and 1.weight are two tensors on one memory"),
        (_hidden, "bias is trained and is not in its state dict"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_federated_is_refused_in_words(build, reason):
    with pytest.raises(ConfigError, match=f"the model cannot be federated: .*{reason}"):
        check_federated(build())


def test_parts_that_are_no_tensors_stay_where_they_are():
    class WithExtra(nn.Linear):
        def get_extra_state(self) -> object:
            return {"seen": 3}

        def set_extra_state(self, state: object) -> None:
            pass

    assert model_spec(WithExtra(2, 2)).names == ["weight", "bias"]


def test_an_extra_state_that_is_a_tensor_stays_where_it_is_too():
    class WithExtra(nn.Linear):
        def get_extra_state(self) -> torch.Tensor:
            return torch.ones(3)

        def set_extra_state(self, state: object) -> None:
            pass

    assert model_spec(WithExtra(2, 2)).names == ["weight", "bias"]
    assert set(state_arrays(WithExtra(2, 2))) == {"weight", "bias", "_extra_state"}


def test_one_batch_norm_under_two_names_is_no_buffer_in_two_modules():
    layer = nn.BatchNorm1d(2)
    check_federated(nn.Sequential(layer, nn.Linear(2, 2), layer))


def test_the_check_leaves_the_mode_as_it_was():
    for mode in (True, False):
        model = nn.Linear(2, 2).train(mode)
        check_federated(model)
        assert model.training is mode
