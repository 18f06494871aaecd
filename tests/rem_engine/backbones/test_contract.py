"""What every backbone promises, on each there is that can be built from small weights; see `backbone_contract`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_contract import CONTRACT, FEW, some_frames
from torch import Tensor, nn

from rem_engine.backbones.base import FAMILIES, Backbone, FamilyKey
from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import MINI_FOLDER, load_backbone
from trainer.model.trainable import load_trainable
from trainer.model.trained import TrainedBackbone
from trainer.settings import TrainSettings

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]
PROMPTS = ("fire", "the smoke", "rain")


@dataclass(frozen=True)
class Model:
    """A backbone, and the VAE it stands on.

    Attributes:
        backbone: loaded.
        folder: it was loaded from.
        vae: diffusers' own.
    """

    backbone: Backbone
    folder: Path
    vae: nn.Module


@dataclass(frozen=True)
class Kind:
    """How one is made, and what its VAE alone gives.

    Attributes:
        load: from a folder, onto a device.
        folder: the fixture of that folder; "mini" for REM-mini's.
        vae_alone: folder, VAE and frames [T,3,H,W] -> the latents its denoiser was trained on, and what the VAE makes
            of the ones it encoded.
    """

    load: Callable[[Path, str], Model]
    folder: str
    vae_alone: Callable[[Path, Any, Tensor], tuple[Tensor, Tensor]]


def _wan_vae(folder: Path, vae: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised by the published mean and deviation of each channel."""
    config = json.loads((folder / "vae" / "config.json").read_text("utf-8"))
    mean, std = torch.tensor([config["latents_mean"], config["latents_std"]]).view(2, 1, 16, 1, 1, 1).to(frames)
    raw = vae.encode(frames.transpose(0, 1)[None]).latent_dist.mode()
    return (raw - mean) / std, vae.decode(raw).sample[0].transpose(0, 1)


def _modelscope_vae(folder: Path, vae: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Times 0.18215."""
    raw = vae.encode(frames).latent_dist.mode()
    return 0.18215 * raw.transpose(0, 1)[None], vae.decode(raw).sample


def _loaded(folder: Path, device: str) -> Model:
    backbone: Any = load_backbone(folder, device=device)
    return Model(backbone, folder, backbone.vae)


def _trained(backbone: FamilyKey, folder: Path, device: str) -> Model:
    settings = TrainSettings(
        backbone=backbone,
        size=(64, 64),
        streams=[{"sources": [{"kind": "synth", "root": "unused"}], "frames": 5, "batch": 1}],
        steps=1,
        frozen=[],
        objective={},
        optim={"lr": 1e-3},
        save_every=1,
    )
    trainable = load_trainable(folder, None, settings, torch.device(device))
    return Model(TrainedBackbone(trainable, settings.objective), folder, trainable.backbone.vae)


KINDS = {
    "Wan": Kind(_loaded, "tiny_wan", _wan_vae),
    "ModelScope": Kind(_loaded, "tiny_modelscope", _modelscope_vae),
    "REM-mini": Kind(_loaded, "mini", _wan_vae),
    "trained Wan": Kind(partial(_trained, "wan"), "tiny_wan", _wan_vae),
    "trained ModelScope": Kind(partial(_trained, "modelscope"), "tiny_modelscope", _modelscope_vae),
}


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, kind: Kind, device: str) -> Model:
    return kind.load(MINI_FOLDER if kind.folder == "mini" else request.getfixturevalue(kind.folder), device)


@pytest.fixture(scope="module")
def rows(model: Model) -> Tensor:
    return torch.stack([model.backbone.encode_text(prompt) for prompt in PROMPTS])


def test_every_family_is_among_them(request: pytest.FixtureRequest) -> None:
    folders = [request.getfixturevalue(kind.folder) for kind in KINDS.values() if kind.folder != "mini"]
    assert {family_of(folder).key for folder in folders} == set(FAMILIES)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_every_backbone(promise: Callable[[Backbone, Tensor], None], model: Model, rows: Tensor) -> None:
    promise(model.backbone, rows)


def test_it_has_all_that_the_protocol_names(model: Model) -> None:
    asked = {name for name in vars(Backbone) if not name.startswith("_")}
    assert asked >= {"family", "encode_video", "decode_masks"}
    assert not [name for name in asked if not hasattr(model.backbone, name)]


def test_a_prompt_is_read_alike_every_time_and_an_empty_one_is_refused(model: Model, rows: Tensor) -> None:
    assert rows.dtype == torch.float32 and rows.device.type == "cpu"
    for prompt, row in zip(PROMPTS, rows, strict=True):
        assert torch.equal(model.backbone.encode_text(prompt), row)
    with pytest.raises(ValueError, match="empty"):
        model.backbone.encode_text("  ")


def test_latents_have_the_scale_the_denoiser_was_trained_on(model: Model, kind: Kind) -> None:
    family = model.backbone.family
    frames = some_frames(family.pad_frame_count(FEW)).to(next(model.vae.parameters()).device)
    latents = model.backbone.encode_video(frames)
    with torch.no_grad():
        expected, pictures = kind.vae_alone(model.folder, model.vae, frames)
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)
    # Decoding takes back the same scale: what was encoded comes out as the VAE alone gives it.
    torch.testing.assert_close(model.backbone.decode_masks(latents), pictures, atol=1e-4, rtol=0.0)
