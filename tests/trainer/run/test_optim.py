"""Groups, schedules, clipping and low-rank training, against torch's own arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rem_engine.backbones.wan import load_wan
from trainer.data.clean_text import clean_prompt
from trainer.model.trainable import freeze, load_trainable
from trainer.run.muon import Muon
from trainer.run.optim import build_optimizer, clip_gradients, parameter_groups, schedule_factor, set_rates
from trainer.settings import OptimSettings, load_settings

CPU = torch.device("cpu")


def two_layers() -> nn.Module:
    model = nn.ModuleDict({"proj": nn.Linear(3, 4), "norm": nn.LayerNorm(4)})
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def test_names_of_norms_and_biases_are_not_decayed():
    model = two_layers()
    optim = OptimSettings(lr=0.1, weight_decay=0.5, no_decay=(".bias", "norm"))
    plain, decayed = parameter_groups(model.named_parameters(), optim)
    assert [id(p) for p in plain["params"]] == [id(model["proj"].bias), *map(id, model["norm"].parameters())]
    assert [id(p) for p in decayed["params"]] == [id(model["proj"].weight)]
    assert (plain["weight_decay"], decayed["weight_decay"]) == (0.0, 0.5)


def test_frozen_parameters_are_in_no_group():
    model = two_layers()
    model["proj"].requires_grad_(False)
    groups = parameter_groups(model.named_parameters(), OptimSettings(lr=0.1, no_decay=("norm",)))
    assert [len(group["params"]) for group in groups] == [2]
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="trainable"):
        build_optimizer(model, OptimSettings(lr=0.1))


def test_first_step_of_adamw_is_the_rate_along_the_sign_after_the_decay():
    """Adam's first step, bias-corrected, is g / (|g| + eps); AdamW multiplies weights by 1 - rate * decay before."""
    model = two_layers()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optim = OptimSettings(lr=0.1, weight_decay=0.5, no_decay=(".bias", "norm"), betas=(0.8, 0.9), eps=1e-3)
    build_optimizer(model, optim).step()
    for name, parameter in model.named_parameters():
        decay = 1 - 0.1 * 0.5 if name == "proj.weight" else 1.0
        expected = before[name] * decay - 0.1 * parameter.grad / (parameter.grad.abs() + 1e-3)
        torch.testing.assert_close(parameter.detach(), expected)


def test_muon_is_built_with_its_own_rates():
    settings = load_settings("mini").optim
    model = two_layers()
    optimizer = build_optimizer(model, settings)
    assert isinstance(optimizer, Muon)
    assert {group["kind"]: group["lr"] for group in optimizer.param_groups} == {"matrix": 0.02, "vector": 1e-3}


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ({"kind": "constant"}, {0: 1.0, 10**6: 1.0}),
        ({"kind": "steps", "at": [[3500, 0.1], [5000, 0.01]]}, {0: 1, 3499: 1, 3500: 0.1, 4999: 0.1, 5000: 0.01}),
        ({"kind": "cosine", "warmup": 10, "floor": 0.2}, {0: 0.1, 9: 1.0, 10: 1.0, 55: 0.6, 100: 0.2, 200: 0.2}),
    ],
)
def test_schedule_gives_the_worked_factors(schedule, factors):
    optim = OptimSettings(lr=0.1, schedule=schedule)
    for step, factor in factors.items():
        assert schedule_factor(step, optim, 100) == pytest.approx(factor)


def test_rates_depend_on_the_step_alone():
    model = two_layers()
    optim = OptimSettings(lr=0.1, schedule={"kind": "steps", "at": [[5, 0.1]]})
    optimizer = build_optimizer(model, optim)
    assert [set_rates(optimizer, optim, step, 10)[0] for step in (4, 5, 5, 0)] == pytest.approx([0.1, 0.01, 0.01, 0.1])
    set_rates(optimizer, optim, 7, 10)
    restored = build_optimizer(model, optim)
    restored.load_state_dict(optimizer.state_dict())
    assert set_rates(restored, optim, 0, 10) == pytest.approx([0.1])


def test_value_clipping_clamps_every_element():
    model = two_layers()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    norm = clip_gradients(model.parameters(), OptimSettings(lr=0.1, clip_value=0.1))
    assert norm.item() == pytest.approx(sum(g.square().sum().item() for g in before.values()) ** 0.5)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, before[name].clamp(-0.1, 0.1))


def test_norm_clipping_scales_the_whole_gradient():
    model = two_layers()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    norm = clip_gradients(model.parameters(), OptimSettings(lr=0.1, clip_norm=0.5))
    assert norm > 0.5
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, before[name] * (0.5 / norm), rtol=1e-5, atol=1e-7)


def test_without_clipping_gradients_stay_bit_by_bit():
    model = two_layers()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    clip_gradients(model.parameters(), OptimSettings(lr=0.1))
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())


def test_lora_starts_at_the_models_own_prediction_and_trains_alone(tiny_wan):
    lora = {"lora.rank": 4, "lora.alpha": 8, "lora.targets": ["to_q", "ffn.net.2"]}
    settings = load_settings("wan_1_3b", {**lora, "precision": "float32", "gradient_checkpointing": False})
    latents, rows = torch.randn(1, 16, 1, 4, 4), torch.randn(1, 77, 4096)
    plain = load_wan(tiny_wan, checkpoint=None, device=CPU, dtype=torch.float32).predict_mask_latents(latents, rows)
    first, second = (load_trainable(tiny_wan, None, settings, CPU) for _ in range(2))
    names = freeze(first, settings)
    assert len(names) == 2 * 3 and all("lora_" in name for name in names)
    torch.testing.assert_close(first.predict(latents, rows).detach(), plain)

    torch.rand(7)  # what was drawn before makes no difference
    assert freeze(second, settings) == names
    for (name, one), (_, other) in zip(first.denoiser.named_parameters(), second.denoiser.named_parameters()):
        assert torch.equal(one, other), name


def test_lora_on_no_layer_is_refused(tiny_wan):
    lora = {"lora.rank": 4, "lora.alpha": 4, "lora.targets": ["to_nothing"]}
    settings = load_settings("wan_14b", {**lora, "precision": "float32"})
    trainable = load_trainable(tiny_wan, None, settings, CPU)
    with pytest.raises(ValueError, match="to_nothing"):
        freeze(trainable, settings)


def test_model_of_the_other_backbone_is_refused(tiny_modelscope):
    with pytest.raises(ValueError, match="modelscope"):
        load_trainable(tiny_modelscope, None, load_settings("wan_14b"), CPU)


def test_weights_are_float32_whatever_the_precision(tiny_wan):
    trainable = load_trainable(tiny_wan, None, load_settings("wan_14b"), CPU)
    assert {p.dtype for p in trainable.denoiser.parameters()} == {torch.float32}
    assert {p.dtype for p in trainable.backbone.text_encoder.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("the  Red\tcar \n", "the Red car"),
        ("cats &amp; dogs", "cats & dogs"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("the cafÃ© sign", "the café sign"),
        ("it\u2019s the dog", "it's the dog"),
    ],
)
def test_training_sentences_are_cleaned_as_diffusers_cleans_them(text, cleaned):
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    assert clean_prompt(text) == cleaned == prompt_clean(text)
