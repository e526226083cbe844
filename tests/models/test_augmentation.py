"""Augmented dimensions: zeros before the ODE, read by what follows it."""

import pytest
import torch
from torch import nn

from node_repro.config import ConfigError
from node_repro.config.compose import compose
from node_repro.config.signature import semantic, signature
from node_repro.models.augmentation import Augmentation
from node_repro.models.encoded_ode import EncodedODE
from node_repro.models.odenet import ODENet
from node_repro.ode import Direct, fixed
from node_repro.ode.methods.explicit import EULER

HOW = {"solver": fixed(EULER, 0.5), "gradient": Direct()}


def rings(augment: int, dimensions: int | None = 2) -> EncodedODE:
    torch.manual_seed(0)
    sizes = {"features": 2, "outputs": 2, "dimensions": dimensions, "hidden": 8, "end": 1.0}
    return EncodedODE(**sizes, augment=augment, **HOW)


def odenet(augment: int) -> ODENet:
    torch.manual_seed(0)
    return ODENet(stem="conv", channels=4, augment=augment, **HOW)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 5, 7)])
def test_zeros_are_appended_as_dimensions_or_channels(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    y = Augmentation(3)(x)
    assert y.shape == (3, 5, *shape[2:])
    assert torch.equal(y[:, :2], x) and not y[:, 2:].any()
    assert Augmentation(0)(x) is x


def test_without_augmentation_a_network_has_the_weights_that_it_had() -> None:
    keys = set(rings(0).state_dict())
    assert {key for key in keys if key.startswith("encoder")} == {"encoder.weight", "encoder.bias"}
    assert {key.partition(".")[0] for key in odenet(0).state_dict()} == {"stem", "block", "head"}


@pytest.mark.parametrize("dimensions", [2, None])
def test_the_state_of_an_encoded_ode_begins_with_zeros_and_is_decoded_whole(
    dimensions: int | None,
) -> None:
    model, x = rings(1, dimensions), torch.randn(5, 2)
    path = model.path(x).z
    assert path.shape[1:] == (5, 3) and not path[0, :, 2].any() and bool(path[-1, :, 2].all())
    assert isinstance(model.decoder, nn.Linear) and model.decoder.in_features == 3
    torch.testing.assert_close(model(x), model.decoder(path[-1]), rtol=0, atol=1e-2)


def test_an_augmented_odenet_has_a_wider_field_and_head() -> None:
    plain, wide, images = odenet(0), odenet(2), torch.rand(2, 1, 28, 28)
    assert wide(images).shape == (2, 10)
    assert wide.block.f.get_parameter("conv1.weight").shape == (6, 6, 3, 3)
    stems = [dict(model.stem.named_parameters()) for model in (plain, wide)]
    assert all(torch.equal(stems[0][name], stems[1][name]) for name in stems[0])


@pytest.mark.parametrize("words", ["model=odenet", "task=classification"])
def test_only_augmented_networks_have_the_option_in_their_signature(words: str) -> None:
    plain, given = compose(words.split()), compose([*words.split(), "model.augment=0"])
    assert signature(plain, "x") == signature(given, "x")
    assert "model.augment" not in semantic(plain, "x")
    assert semantic(compose([*words.split(), "model.augment=32"]), "x")["model.augment"] == 32


def test_channels_that_group_norm_cannot_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.channels=64 \+ model.augment=8"):
        compose(["model=odenet", "model.augment=8"])
    compose(["model=odenet", "model.augment=64"])
    compose(["model=odenet", "model.channels=8", "model.augment=5"])
    with pytest.raises(ConfigError, match="augment"):
        compose(["model=resnet", "model.augment=8"])
