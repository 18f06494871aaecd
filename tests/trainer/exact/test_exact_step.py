"""A training step here is the authors' training step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from trainer.commands.cli import main
from trainer.model.objective import Batch, loss
from trainer.model.trainable import freeze, load_trainable
from trainer.settings import load_settings

CHECKPOINTS = {"wan": "rem_wan.pth", "modelscope": "rem_ms.pth"}
CPU = torch.device("cpu")


def verify(capsys, recording: Path, model: Path, checkpoint: Path | None = None) -> tuple[int, dict, str]:
    """Exit status, JSON and messages of `verify-step`."""
    options = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
    status = main(["verify-step", str(recording), "--model", str(model), *options])
    printed = capsys.readouterr()
    return status, json.loads(printed.out or "{}"), printed.err


def verify_golden(capsys, golden: Path, backbone: str, recording: Path | None = None) -> tuple[int, dict, str]:
    folder = golden / backbone
    return verify(capsys, recording or folder / "train_step", folder / "base", folder / CHECKPOINTS[backbone])


def changed_copy(source: Path, target: Path, change) -> Path:
    """A copy of a recording whose expected.json `change` has edited in place."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    target.chmod(0o755)
    expected = json.loads((target / "expected.json").read_text())
    change(expected)
    (target / "expected.json").write_text(json.dumps(expected))
    return target


@pytest.mark.parametrize("backbone", CHECKPOINTS)
def test_recorded_step_of_the_authors_is_reproduced(golden, capsys, backbone):
    status, report, _ = verify_golden(capsys, golden, backbone)
    assert status == 0 and report["within_limits"]
    (step,) = report["steps"]
    recorded = json.loads((golden / backbone / "train_step" / "expected.json").read_text())
    expected = recorded["steps"][0] if backbone == "wan" else recorded["stage2_video"]
    assert step["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert step["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-4)
    assert step["grad_norm_all"] == pytest.approx(expected["grad_norm_all"], rel=1e-4)
    assert step["n_params_with_grad"] == expected["n_params_with_grad"]
    assert step["expected"]["grad_norm"] == expected["grad_norm"]
    assert step["max_difference"]["pred_latents"] < 1e-4


def test_what_was_recorded_as_none_is_none_here(golden, capsys, tmp_path):
    """A gradient of what is frozen, as a recorder that lists all parameters has it; of what is trained it is wrong."""
    frozen, trained = "time_embedding.linear_1.weight", "conv_in.weight"
    for name, status in ((frozen, 0), (trained, 1)):
        more = changed_copy(
            golden / "modelscope" / "train_step",
            tmp_path / name,
            lambda recorded, name=name: recorded["stage2_video"]["grad_norm"].update({name: None}),
        )
        found, report, _ = verify_golden(capsys, golden, "modelscope", more)
        assert found == status
        assert report["steps"][0]["expected"]["grad_norm"][name] is None
        told = [f"grad_norm of {trained} was recorded as none" in sentence for sentence in report["differs"]]
        assert told == [True] * status


@pytest.mark.slow
@pytest.mark.parametrize("backbone", CHECKPOINTS)
def test_wrong_weights_are_caught(golden, capsys, backbone):
    folder = golden / backbone
    status, report, messages = verify(capsys, folder / "train_step", folder / "base")
    assert status == 1 and not report["within_limits"]
    assert "loss differs" in messages and messages.strip().splitlines() == report["differs"]


@pytest.mark.slow
def test_wrong_clipping_and_noise_are_caught(golden, capsys, tmp_path):
    source = golden / "modelscope" / "train_step"
    softer = changed_copy(source, tmp_path / "clip", lambda recorded: recorded["stage2_video"].update(clip_val=0.2))
    status, report, _ = verify_golden(capsys, golden, "modelscope", softer)
    assert status == 1
    assert any("grad_norm of" in sentence for sentence in report["differs"])
    assert not any("loss" in sentence for sentence in report["differs"])

    other = changed_copy(source, tmp_path / "noise", lambda recorded: recorded["stage2_video"].update(noise_seed=322))
    status, report, _ = verify_golden(capsys, golden, "modelscope", other)
    assert status == 1 and any("loss differs" in sentence for sentence in report["differs"])


def test_recorded_parameter_that_is_frozen_here_is_named(golden, capsys, tmp_path):
    def add(recorded: dict) -> None:
        recorded["steps"][0]["grad_norm"]["patch_embedding.weight"] = 1.0
        recorded["trainable_dit"].append("patch_embedding.weight")

    more = changed_copy(golden / "wan" / "train_step", tmp_path / "more", add)
    status, report, _ = verify_golden(capsys, golden, "wan", more)
    assert status == 1
    assert sum("patch_embedding.weight" in sentence for sentence in report["differs"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("expected.json", None, "expected.json"),
        ("expected.json", "{", "line 1, column 2 is not JSON"),
        ("expected.json", '{"optimizer": {}}', "records no step"),
        ("expected.json", '{"steps": [{"kind": "depth", "loss": 1.0}]}', "no batch"),
        ("tensors.safetensors", None, "tensors.safetensors"),
    ],
)
def test_broken_recording_gives_one_sentence(golden, capsys, tmp_path, name, content, says):
    recording = changed_copy(golden / "wan" / "train_step", tmp_path / "broken", lambda recorded: None)
    (recording / name).unlink()
    if content is not None:
        (recording / name).write_text(content)
    status, _, message = verify_golden(capsys, golden, "wan", recording)
    assert status == 2
    assert message.startswith("error: ") and says in message and message.count("\n") == 1


PRESETS = {
    "wan_14b": lambda name: name.startswith(("patch_embedding.", "condition_embedder.")),
    "modelscope_stage1": lambda name: "temp" in name or name.startswith("time_embedding."),
    "modelscope_stage2": lambda name: name.startswith("time_embedding."),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_frozen_parameters_get_no_gradient_and_all_others_do(tiny_wan, tiny_modelscope, preset):
    model = tiny_wan if preset == "wan_14b" else tiny_modelscope
    settings = load_settings(preset, {"precision": "float32", "gradient_checkpointing": False})
    trainable = load_trainable(model, None, settings, CPU)
    named = freeze(trainable, settings)
    channels, width = (16, 4096) if preset == "wan_14b" else (4, 32)
    shape = (1, channels, 2, 8, 8)
    masks = torch.zeros(1, 5, 64, 64)
    batch = Batch(torch.randn(shape), torch.randn(shape), torch.randn(1, 77, width), masks, torch.randn(shape))
    loss(trainable, trainable.denoiser, batch, settings.objective).backward()
    with_gradient = {name for name, p in trainable.denoiser.named_parameters() if p.grad is not None}
    everything = {name for name, _ in trainable.denoiser.named_parameters()}
    assert with_gradient == set(named) == {name for name in everything if not PRESETS[preset](name)}
    assert everything - with_gradient
    for part in (trainable.backbone.vae, trainable.backbone.text_encoder):
        assert all(p.grad is None and not p.requires_grad for p in part.parameters())
    if preset != "wan_14b":
        assert any(name.startswith("transformer_in.") for name in with_gradient)


def norms(parameters: dict[str, torch.nn.Parameter], of) -> dict[str, float]:
    return {name: of(p).double().norm().item() for name, p in parameters.items() if of(p) is not None}


def decayed_and_not(parameters: dict[str, torch.nn.Parameter], lr: float) -> torch.optim.AdamW:
    """The optimizer as the authors' trainer words its groups."""
    marks = [".ln_", ".bn", ".bias", ".logit_scale", ".entropy_scale", "norm"]
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    plain = [p for name, p in trained.items() if any(mark in name for mark in marks)]
    rest = [p for name, p in trained.items() if not any(mark in name for mark in marks)]
    return torch.optim.AdamW(
        [{"params": plain, "weight_decay": 0.0}, {"params": rest, "weight_decay": 1e-5}], lr=lr, weight_decay=1e-5
    )


def test_wan_steps_in_a_row_equal_a_plain_loop_over_diffusers(tiny_wan, capsys, tmp_path):
    """Image, video, image; the rate falls in between; the optimizer carries on."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    generator = torch.Generator().manual_seed(0)
    transformer = WanTransformer3DModel.from_pretrained(tiny_wan / "transformer")
    vae = AutoencoderKLWan.from_pretrained(tiny_wan / "vae")
    mean = torch.tensor(vae.config.latents_mean).view(1, 16, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, 16, 1, 1, 1)

    def encode(pixels):  # [B,T,3,H,W]
        with torch.no_grad():
            return (vae.encode(pixels.transpose(1, 2)).latent_dist.mode() - mean) / std

    tensors = {}
    for kind, frames in (("image", 1), ("video", 5)):
        tensors[f"{kind}.pixels"] = torch.rand([1, frames, 3, 32, 32], generator=generator) * 2 - 1
        tensors[f"{kind}.masks"] = (torch.rand([1, frames, 32, 32], generator=generator) > 0.5).to(torch.uint8)
        tensors[f"{kind}.p_emb"] = torch.randn([1, 6 + frames, 4096], generator=generator)

    parameters = dict(transformer.named_parameters())
    for name, p in parameters.items():
        p.requires_grad_(not name.startswith(("patch_embedding", "condition_embedder")))
    optimizer = decayed_and_not(parameters, 1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 1 else 0.1)
    steps = []
    for kind in ("image", "video", "image"):
        rows = tensors[f"{kind}.p_emb"]
        masks = tensors[f"{kind}.masks"].float()[:, :, None].repeat(1, 1, 3, 1, 1)
        predicted = transformer(
            encode(tensors[f"{kind}.pixels"]),
            torch.zeros(1),
            torch.cat([rows, torch.zeros(1, 77 - rows.shape[1], 4096)], dim=1),
        ).sample
        value = F.mse_loss(predicted, encode(masks))
        optimizer.zero_grad()
        value.backward()
        step = {"kind": kind, "loss": value.item(), "grad_norm": norms(parameters, lambda p: p.grad)}
        step["lr"] = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        schedule.step()
        steps.append({**step, "param_after_step_norm": norms(parameters, lambda p: p.detach())})
    assert steps[1]["lr"] == pytest.approx([1e-4, 1e-4])

    recorded = {"steps": steps, "optimizer": {"lr": 1e-3}, "lr_schedule": "x1.0 for step<1, x0.1 after"}
    (tmp_path / "expected.json").write_text(json.dumps(recorded))
    save_file(tensors, tmp_path / "tensors.safetensors")
    status, report, _ = verify(capsys, tmp_path, tiny_wan)
    assert report["differs"] == [] and status == 0
    assert [step["kind"] for step in report["steps"]] == ["image", "video", "image"]

    # the third step sees what the first two did: with another rate it differs
    recorded["optimizer"]["lr"] = 1e-4
    (tmp_path / "expected.json").write_text(json.dumps(recorded))
    status, report, _ = verify(capsys, tmp_path, tiny_wan)
    assert status == 1
    assert any(sentence.startswith("step 2: loss") for sentence in report["differs"])


@pytest.mark.slow
def test_modelscope_stages_equal_a_plain_loop_over_diffusers(tiny_modelscope, capsys, tmp_path):
    """Stage 1 on four images, stage 2 on a clip, and stage 2 with a harder clamp, each from the initial weights."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    generator = torch.Generator().manual_seed(0)
    vae = AutoencoderKL.from_pretrained(tiny_modelscope / "vae")
    text_encoder = CLIPTextModel.from_pretrained(tiny_modelscope / "text_encoder")
    tokenizer = AutoTokenizer.from_pretrained(tiny_modelscope / "tokenizer", pad_token="!")
    alphas = DDIMScheduler.from_pretrained(tiny_modelscope / "scheduler").alphas_cumprod
    prompts = {"image": ["red disc", "smoke", "green", "ball"], "video": ["a red disc"]}
    tensors = {
        f"{kind}.{part}": torch.randint(0, high, shape, generator=generator, dtype=torch.uint8)
        for kind, count in (("image", (4, 1)), ("video", (1, 3)))
        for part, high, shape in (("frames_u8", 256, (*count, 3, 64, 64)), ("masks", 2, (*count, 64, 64)))
    }

    recorded = {"prompts": prompts}
    for name, kind, frozen, lr, limit in (
        ("stage1_image", "image", ("temp", "time_embedding"), 1e-5, 0.1),
        ("stage2_video", "video", ("time_embedding",), 1e-6, 0.1),
        ("stage2_video_clip1e-3", "video", ("time_embedding",), 1e-6, 1e-3),
    ):
        unet = UNet3DConditionModel.from_pretrained(tiny_modelscope / "unet").eval()
        parameters = dict(unet.named_parameters())
        for parameter_name, p in parameters.items():
            p.requires_grad_(not any(part in parameter_name for part in frozen))
        optimizer = decayed_and_not(parameters, lr)
        frames = tensors[f"{kind}.frames_u8"].flatten(0, 1).float() / 127.5 - 1
        masks = tensors[f"{kind}.masks"].flatten(0, 1)[:, None].float().repeat(1, 3, 1, 1)
        with torch.no_grad():
            latents, target = (vae.encode(each).latent_dist.mode() * 0.18215 for each in (frames, masks))
            tokens = tokenizer(prompts[kind], padding="max_length", max_length=77, return_tensors="pt")
            rows = text_encoder(tokens.input_ids).last_hidden_state
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(7))
        noisy = alphas[0].sqrt() * latents + (1 - alphas[0]).sqrt() * noise
        clips = noisy.unflatten(0, (len(rows), -1)).transpose(1, 2)
        predicted = unet(clips, torch.tensor(0), rows).sample.transpose(1, 2).flatten(0, 1)
        value = F.mse_loss(predicted, target)
        value.backward()
        for p in parameters.values():
            if p.grad is not None:
                p.grad.clamp_(-limit, limit)
        gradients = norms(parameters, lambda p: p.grad)
        optimizer.step()
        recorded[name] = {
            "loss": value.item(),
            "grad_norm": gradients,
            "n_params_with_grad": len(gradients),
            "lr": lr,
            "clip_val": limit,
            "noise_seed": 7,
        }
        tensors[f"{name}.after_step.conv_out.bias"] = unet.conv_out.bias.detach().clone()
    assert recorded["stage1_image"]["n_params_with_grad"] < recorded["stage2_video"]["n_params_with_grad"]

    (tmp_path / "expected.json").write_text(json.dumps(recorded))
    save_file(tensors, tmp_path / "tensors.safetensors")
    status, report, _ = verify(capsys, tmp_path, tiny_modelscope)
    assert report["differs"] == [] and status == 0
    assert [step["name"] for step in report["steps"]] == ["stage1_image", "stage2_video", "stage2_video_clip1e-3"]
    assert all(step["max_difference"]["after_step.conv_out.bias"] < 1e-7 for step in report["steps"])


def test_checkpointed_gradients_are_the_plain_ones(tiny_wan):
    generator = torch.Generator().manual_seed(0)
    latents, target = (torch.randn((1, 16, 2, 8, 8), generator=generator) for _ in range(2))
    rows, masks = torch.randn([1, 77, 4096], generator=generator), torch.zeros(1, 5, 64, 64)
    batch = Batch(latents, target, rows, masks)
    found = []
    for checkpointing in (False, True):
        settings = load_settings("wan_14b", {"precision": "float32", "gradient_checkpointing": checkpointing})
        trainable = load_trainable(tiny_wan, None, settings, CPU)
        freeze(trainable, settings)
        assert trainable.denoiser.is_gradient_checkpointing == checkpointing
        loss(trainable, trainable.denoiser, batch, settings.objective).backward()
        found.append({name: p.grad for name, p in trainable.denoiser.named_parameters() if p.grad is not None})
    plain, checkpointed = found
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-5, atol=1e-7)


def test_training_mode_brings_no_dropout(tiny_modelscope):
    settings = load_settings("modelscope_stage2")
    trainable = load_trainable(tiny_modelscope, None, settings, CPU)
    latents, rows, noise = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 77, 32), torch.randn(1, 4, 2, 8, 8)
    with torch.no_grad():
        still = trainable.predict(latents, rows, noise=noise)
        trainable.denoiser.train()
        assert torch.equal(trainable.predict(latents, rows, noise=noise), still)
