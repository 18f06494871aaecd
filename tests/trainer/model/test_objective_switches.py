"""Each switch of the objective changes what it names and nothing else, and the defaults are REM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan

from rem_engine.backbones.wan import load_wan
from trainer.model.decoders import MlpHead
from trainer.model.objective import Batch, loss, predict, soft_masks, with_noise
from trainer.model.trainable import Trainable, freeze, load_trainable
from trainer.model.trained import TrainedBackbone
from trainer.settings import ObjectiveSettings, TrainSettings

CPU = torch.device("cpu")
HEAD = {"supervision": "rgb", "decoder": "cnn"}


def settings(backbone: str = "wan", seed: int = 1, **objective: Any) -> TrainSettings:
    source = {"kind": "synth", "root": "unused"}
    return TrainSettings(
        backbone=backbone,
        size=(64, 64),
        streams=[{"sources": [source], "frames": 5, "batch": 2}],
        steps=1,
        frozen=["patch_embedding", "condition_embedder", "time_embedding"],
        objective=objective,
        optim={"lr": 1e-3},
        save_every=1,
        seed=seed,
    )


def loaded(folder: Path, chosen: TrainSettings) -> Trainable:
    trainable = load_trainable(folder, None, chosen, CPU)
    freeze(trainable, chosen)
    return trainable


def batch_for(trainable: Trainable, seed: int = 0) -> Batch:
    """Two clips: five frames of 64x64, two of Wan's latent frames."""
    generator = torch.Generator().manual_seed(seed)
    frames = 2 if trainable.backbone.family.frames_per_latent == 4 else 5
    shape = (2, trainable.denoiser.config.out_channels, frames, 8, 8)
    width = 4096 if trainable.backbone.family.frames_per_latent == 4 else 32
    latents, targets = torch.randn(2, *shape, generator=generator)
    masks = torch.zeros(2, 5, 64, 64, dtype=torch.uint8)
    masks[0, :, 8:40, 16:48] = 1
    batch = Batch(latents, targets, torch.randn(2, 77, width, generator=generator), masks)
    return with_noise(trainable, batch, 1, 0, [0, 1])


def gradients(trainable: Trainable, objective: ObjectiveSettings) -> dict[str, torch.Tensor]:
    loss(trainable, trainable.denoiser, batch_for(trainable), objective).backward()
    return {name: p.grad for name, p in trainable.denoiser.named_parameters() if p.grad is not None}


def test_the_defaults_are_rem_to_the_bit(tiny_wan: Path) -> None:
    chosen = settings()
    trainable = loaded(tiny_wan, chosen)
    batch = batch_for(trainable)
    transformer = load_wan(tiny_wan, checkpoint=None, device=CPU, dtype=torch.float32).transformer.requires_grad_(True)
    predicted = transformer(batch.latents, torch.zeros(2), batch.rows).sample
    expected = F.mse_loss(predicted, batch.mask_latents)
    assert torch.equal(loss(trainable, trainable.denoiser, batch, chosen.objective), expected)
    expected.backward()
    for name, gradient in gradients(trainable, chosen.objective).items():
        assert torch.equal(gradient, transformer.get_parameter(name).grad), name


def test_a_velocity_leads_from_the_videos_latents_to_the_masks(tiny_wan: Path) -> None:
    """FlowRVS at t = 1000: the denoiser sees the clean video there, and is compared with v = z - m."""
    chosen = settings(output="velocity")
    trainable = loaded(tiny_wan, chosen)
    batch = batch_for(trainable)
    transformer = load_wan(tiny_wan, checkpoint=None, device=CPU, dtype=torch.float32).transformer
    velocity = transformer(batch.latents, torch.full((2,), 1000.0), batch.rows).sample
    expected = F.mse_loss(velocity, batch.latents - batch.mask_latents)
    assert batch.noise is None
    assert loss(trainable, trainable.denoiser, batch, chosen.objective).item() == pytest.approx(expected.item(), 1e-6)
    predicted = predict(trainable, trainable.denoiser, batch.latents, batch.rows, None, chosen.objective)
    assert torch.allclose(predicted, batch.latents - velocity, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "more"),
    [("wan", {"timestep": 500}), ("wan", {**HEAD, "features": 0}), ("modelscope", {})],
)
def test_a_velocity_goes_with_what_it_is_defined_for(backbone: str, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="output velocity"):
        settings(backbone, output="velocity", **more)


def test_rgb_of_perfect_latents_is_the_vaes_own_error(tiny_wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(supervision="rgb")
    trainable = loaded(tiny_wan, chosen)
    masks = batch_for(trainable).masks
    batch = replace(batch_for(trainable), mask_latents=torch.cat([trainable.encode_masks(each) for each in masks]))
    monkeypatch.setattr(trainable, "predict", lambda *args, **kwargs: batch.mask_latents)
    vae = AutoencoderKLWan.from_pretrained(tiny_wan / "vae")
    for each in (vae, trainable.backbone.vae):  # random ones decode to values that diffusers clamps
        each.decoder.conv_out.weight.data.mul_(0.1)
    grey = masks[:, None].float().expand(-1, 3, -1, -1, -1)
    with torch.no_grad():
        carried = vae.decode(vae.encode(grey).latent_dist.mode()).sample
    assert carried.abs().max() < 1
    found = loss(trainable, trainable.denoiser, batch, chosen.objective)
    assert found.item() == pytest.approx((carried - grey).square().mean().item(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["wan", "modelscope"])
def test_only_a_tuned_decoder_is_trained(backbone: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"tiny_{backbone}")
    names, decoders = {}, {}
    for decoder in ("vae", "vae_tuned"):
        chosen = settings(backbone, supervision="rgb", decoder=decoder)
        trainable = loaded(folder, chosen)
        names[decoder] = set(gradients(trainable, chosen.objective))
        decoders[decoder] = [p.grad for p in trainable.backbone.vae.decoder.parameters()]
        assert all(p.grad is None for p in trainable.backbone.vae.encoder.parameters())
    assert all(gradient is None for gradient in decoders["vae"])
    assert any(gradient.abs().max() > 0 for gradient in decoders["vae_tuned"])
    added = names["vae_tuned"] - names["vae"]
    assert names["vae"] < names["vae_tuned"] and all(name.startswith("mask_decoder.") for name in added)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["wan", "modelscope"])
@pytest.mark.parametrize("decoder", ["cnn", "mlp"])
@pytest.mark.parametrize("features", [None, 0])
def test_a_new_head_is_trained_along_or_alone(
    backbone: str, decoder: str, features: int | None, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{backbone}")
    chosen = settings(backbone, supervision="rgb", decoder=decoder, features=features)
    trainable = loaded(folder, chosen)
    names = set(gradients(trainable, chosen.objective))
    head = {name for name, _ in trainable.denoiser.named_parameters() if name.startswith("mask_decoder.")}
    rem = loaded(folder, settings(backbone))
    trained = set() if features is not None else set(gradients(rem, ObjectiveSettings()))
    assert head and names == head | trained
    masks = soft_masks(trainable, trainable.denoiser, batch_for(trainable), chosen.objective)
    assert masks.shape == (2, 5, 64, 64)


def test_a_perceptron_gives_each_latent_its_own_pixels() -> None:
    head = MlpHead(16, frames=4)
    latents = torch.zeros(1, 16, 3, 4, 4)
    changed = latents.clone()
    changed[0, :, 1, 2, 3] = 1
    with torch.no_grad():
        where = (head(changed) != head(latents))[0, 0]
    assert where.shape == (9, 32, 32)
    inside = torch.zeros_like(where)
    inside[1:5, 16:24, 24:32] = True
    assert where[inside].all() and not where[~inside].any()


def test_features_are_what_the_block_gives(tiny_wan: Path) -> None:
    chosen = settings(**HEAD, features=0)
    trainable = loaded(tiny_wan, chosen)
    batch, tokens = batch_for(trainable), []
    transformer = load_wan(tiny_wan, checkpoint=None, device=CPU, dtype=torch.float32).transformer
    transformer.blocks[0].register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        transformer(batch.latents, torch.zeros(2), batch.rows)
    found = trainable.features(batch.latents, batch.rows, 0)
    assert found.shape == (2, 128, 2, 8, 8) and not found.requires_grad
    # a token is a patch of 2x2 latents; the corner of the upsampled map is the corner's token
    assert torch.equal(found[:, :, :, 0, 0], tokens[0].view(2, 2, 16, 128)[:, :, 0].transpose(1, 2))
    assert torch.equal(found[:, :, :, -1, -1], tokens[0].view(2, 2, 16, 128)[:, :, -1].transpose(1, 2))


def test_from_scratch_every_drawn_weight_is_new_and_the_seeds_own(tiny_wan: Path) -> None:
    states = {
        name: loaded(tiny_wan, chosen).denoiser.state_dict()
        for name, chosen in {
            "t2v": settings(),
            "scratch": settings(init="scratch"),
            "again": settings(init="scratch"),
            "other": settings(init="scratch", seed=2),
        }.items()
    }
    matrices = [name for name, value in states["t2v"].items() if value.ndim > 1]
    assert matrices and states["t2v"].keys() == states["scratch"].keys()
    for name in matrices:
        assert not torch.equal(states["t2v"][name], states["scratch"][name]), name
        assert torch.equal(states["again"][name], states["scratch"][name]), name
        assert not torch.equal(states["other"][name], states["scratch"][name]), name


def test_loading_draws_no_numbers_from_anyone_elses_generator(tiny_wan: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    loaded(tiny_wan, settings(**HEAD))
    loaded(tiny_wan, settings(init="scratch"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("timestep", [0, 300])
def test_wan_at_a_timestep_sees_flow_matchings_mixture(tiny_wan: Path, timestep: int) -> None:
    chosen = settings(timestep=timestep)
    trainable = loaded(tiny_wan, chosen)
    batch, seen = batch_for(trainable), {}
    trainable.denoiser.register_forward_pre_hook(lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True)
    loss(trainable, trainable.denoiser, batch, chosen.objective)
    share = timestep / 1000
    expected = batch.latents if batch.noise is None else (1 - share) * batch.latents + share * batch.noise
    assert (batch.noise is None) == (timestep == 0)
    torch.testing.assert_close(seen["hidden_states"], expected)
    assert seen["timestep"].tolist() == [timestep] * 2


def test_modelscope_at_a_timestep_sees_its_schedules_noise(tiny_modelscope: Path) -> None:
    chosen = settings("modelscope", timestep=300)
    trainable = loaded(tiny_modelscope, chosen)
    batch, seen = batch_for(trainable), []
    trainable.denoiser.register_forward_pre_hook(lambda module, args: seen.extend(args))
    loss(trainable, trainable.denoiser, batch, chosen.objective)
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[300]  # "scaled_linear"
    expected = kept**0.5 * batch.latents + (1 - kept) ** 0.5 * batch.noise
    torch.testing.assert_close(seen[0], expected.float(), atol=1e-5, rtol=1e-5)
    assert seen[1].tolist() == [300]


@pytest.mark.parametrize("objective", [{}, {"supervision": "rgb", "decoder": "vae_tuned"}])
def test_a_trained_model_segments_as_the_engine_does(tiny_wan: Path, objective: dict[str, str]) -> None:
    chosen = settings(**objective)
    ours = TrainedBackbone(loaded(tiny_wan, chosen), chosen.objective)
    engine = load_wan(tiny_wan, checkpoint=None, device=CPU, dtype=torch.float32)
    frames = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    masks = []
    for backbone in (ours, engine):
        latents, rows = backbone.encode_video(frames), torch.stack([backbone.encode_text("smoke")] * 2)
        predicted = backbone.predict_mask_latents(latents, rows, backbone.draw_noise(latents, 0))
        masks.append(backbone.decode_masks(predicted[1:]))
    assert torch.equal(*masks)


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        ({"decoder": "cnn"}, "latent does not train a decoder"),
        ({"decoder": "vae_tuned"}, "latent does not train a decoder"),
        ({"supervision": "rgb", "features": 1}, "read by a new head"),
        ({**HEAD, "features": 1, "init": "scratch"}, "frozen pre-trained denoiser"),
        ({"timestep": 1000}, "timestep"),
    ],
)
def test_switches_that_do_not_go_together_are_refused(objective: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(**objective)


def test_a_block_that_is_not_there_is_refused(tiny_wan: Path) -> None:
    with pytest.raises(ValueError, match="objective.features is 7, and the denoiser has blocks 0 to 0"):
        loaded(tiny_wan, settings(**HEAD, features=7))
