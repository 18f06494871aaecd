"""Promises of the export: what is written is what was trained, in every form, for every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from runs import FRAMES, SIZE, run, write_settings, write_shots
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rem_engine import load_segmenter
from trainer.commands.cli import main
from trainer.export import Export, export
from trainer.model.trainable import freeze, load_trainable
from trainer.run.checkpoint import AVERAGE_FILE, Checkpoints
from trainer.settings import load_settings


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("shots") / "train", 2)


@pytest.fixture(scope="module")
def trained(tiny_wan: Path, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A run of two steps, and the weights it ends with."""
    folder = tmp_path_factory.mktemp("run")
    settings = write_settings(folder / "settings.yaml", shots, steps=2)
    return folder / "run", run(tiny_wan, settings, folder / "run")


@pytest.fixture(scope="module")
def lora(tiny_wan: Path, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps that trains a LoRA."""
    folder = tmp_path_factory.mktemp("lora")
    targets = {"rank": 4, "alpha": 8, "targets": ["to_q", "to_v", "ffn.net.0.proj"]}
    run(tiny_wan, write_settings(folder / "settings.yaml", shots, lora=targets, steps=3), folder / "run")
    return folder / "run"


def predict(transformer: torch.nn.Module) -> Tensor:
    """What a denoiser makes of fixed latents and text."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, 1 + FRAMES // 4, SIZE // 8, SIZE // 8, generator=generator)
    rows = torch.randn(1, 77, 4096, generator=generator)
    with torch.no_grad():
        return transformer(latents, torch.zeros(1), rows).sample


def reloaded(model: Path, checkpoint: Path) -> Tensor:
    return predict(load_segmenter(model, checkpoint=checkpoint).backbone.transformer)


@pytest.mark.parametrize("form", ["full", "delta", "lora"])
def test_an_export_predicts_what_the_run_predicts(
    form: str, tiny_wan: Path, trained: tuple[Path, dict], tmp_path: Path
) -> None:
    """A LoRA of the full rank of a layer keeps all of its change; other weights are kept whole."""
    folder, weights = trained
    transformer = load_segmenter(tiny_wan).backbone.transformer
    before = predict(transformer)
    transformer.load_state_dict(weights, strict=False)
    expected = predict(transformer)
    out = tmp_path / "rem.safetensors"
    export(Export(folder, out, form, rank=60))
    assert (expected - before).abs().max() > 0.02
    assert (reloaded(tiny_wan, out) - expected).abs().max() < (1e-6 if form == "full" else 2e-3)
    assert [path.name for path in tmp_path.iterdir() if "report" not in path.name] == ["rem.safetensors"]


def test_an_export_has_the_names_and_type_asked_for(trained: tuple[Path, dict], tmp_path: Path) -> None:
    out = tmp_path / "rem.safetensors"
    export(Export(trained[0], out, names="diffusers", dtype=torch.bfloat16))
    weights = load_file(out)
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    export(Export(trained[0], tmp_path / "comfyui.safetensors"))
    assert "blocks.0.self_attn.q.weight" in load_file(tmp_path / "comfyui.safetensors")


def test_the_average_is_what_is_exported(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    run(tiny_wan, write_settings(tmp_path / "s.yaml", shots, steps=2, ema=0.5), tmp_path / "run")
    out = tmp_path / "rem.safetensors"
    checkpoint = export(Export(tmp_path / "run", out, names="diffusers"))
    average, weights = load_file(checkpoint / AVERAGE_FILE), load_file(out)
    assert all(torch.equal(weights[name], value) for name, value in average.items())


@pytest.mark.slow
def test_a_trained_lora_is_exported_as_it_was_trained(tiny_wan: Path, lora: Path, tmp_path: Path) -> None:
    """By both readers: the engine's, and W + alpha / rank * up @ down written out."""
    settings = load_settings(lora / "settings.yaml")
    trainable = load_trainable(tiny_wan, None, settings, torch.device("cpu"))
    names = freeze(trainable, settings)
    checkpoint = Checkpoints(lora / "checkpoints", 1).latest()
    weights = load_file(checkpoint / "denoiser.safetensors")
    assert set(weights) == set(names)
    trainable.denoiser.load_state_dict(weights, strict=False)
    expected = predict(trainable.denoiser)

    out = tmp_path / "lora.safetensors"
    export(Export(lora, out, "lora"))
    assert (reloaded(tiny_wan, out) - expected).abs().max() < 1e-5
    stored = load_file(out)
    layer = "diffusion_model.blocks.0.self_attn.q"
    assert stored[f"{layer}.lora_down.weight"].shape[0] == 4
    assert stored[f"{layer}.alpha"] == 8
    transformer = load_segmenter(tiny_wan).backbone.transformer
    state = transformer.state_dict()
    for original, diffusers in (
        ("self_attn.q", "attn1.to_q"),
        ("self_attn.v", "attn1.to_v"),
        ("cross_attn.q", "attn2.to_q"),
        ("cross_attn.v", "attn2.to_v"),
        ("ffn.0", "ffn.net.0.proj"),
    ):
        part = f"diffusion_model.blocks.0.{original}"
        change = stored[f"{part}.lora_up.weight"] @ stored[f"{part}.lora_down.weight"] * (8 / 4)
        assert change.abs().max() > 0
        state[f"blocks.0.{diffusers}.weight"].add_(change)
    assert (predict(transformer) - expected).abs().max() < 1e-5
    with safe_open(out, "pt") as file:
        assert file.metadata()["rem.form"] == "lora"


@pytest.mark.parametrize("form", ["full", "delta"])
def test_a_trained_lora_can_be_merged(form: str, tiny_wan: Path, lora: Path, tmp_path: Path) -> None:
    export(Export(lora, tmp_path / "lora.safetensors", "lora"))
    export(Export(lora, tmp_path / "merged.safetensors", form))
    assert (
        reloaded(tiny_wan, tmp_path / "merged.safetensors") - reloaded(tiny_wan, tmp_path / "lora.safetensors")
    ).abs().max() < 1e-5


def test_a_lora_trains_its_matrices_alone(tiny_wan: Path, lora: Path, shots: Path) -> None:
    """Three AdamW steps of y = W x + alpha / rank * B (A x), written out over diffusers' model."""
    settings = load_settings(lora / "settings.yaml")
    from trainer.data.loader import Loader
    from trainer.data.open import open_sources
    from trainer.model.objective import encode_batch

    trainable = load_trainable(tiny_wan, None, settings, torch.device("cpu"))
    freeze(trainable, settings)  # for peft's first matrices, which are random
    began = {n: p.detach().clone() for n, p in trainable.denoiser.named_parameters() if ".lora_" in n}
    plain = load_trainable(tiny_wan, None, settings, torch.device("cpu"))
    matrices = {name: torch.nn.Parameter(value) for name, value in began.items()}
    for name, module in plain.denoiser.named_modules():
        if f"{name}.lora_A.default.weight" in matrices:
            down, up = (matrices[f"{name}.lora_{part}.default.weight"] for part in "AB")
            module.register_forward_hook(lambda _, x, y, up=up, down=down: y + 8 / 4 * (x[0] @ down.T @ up.T))
    optimizer = torch.optim.AdamW(list(matrices.values()), lr=1e-3, weight_decay=1e-2)
    for batch in Loader([open_sources(settings.streams[0])], settings, range(3)):
        encoded = encode_batch(plain, batch.samples, settings.size)
        predicted = plain.denoiser(encoded.latents, torch.zeros(2), encoded.rows).sample
        optimizer.zero_grad()
        (predicted - encoded.mask_latents).square().mean().backward()
        optimizer.step()
    weights = load_file(Checkpoints(lora / "checkpoints", 1).latest() / "denoiser.safetensors")
    for name, value in matrices.items():
        assert (weights[name] - value).abs().max() < 2e-5, name


def test_a_run_over_a_checkpoint_exports_changes_of_the_model_folder(
    tiny_wan: Path, trained: tuple[Path, dict], shots: Path, tmp_path: Path
) -> None:
    """Trained on from another run's weights, a delta still adds to the folder's own."""
    export(Export(trained[0], tmp_path / "first.safetensors"))
    settings = write_settings(tmp_path / "s.yaml", shots, steps=1)
    weights = run(tiny_wan, settings, tmp_path / "run", checkpoint=tmp_path / "first.safetensors")
    export(Export(tmp_path / "run", tmp_path / "delta.safetensors", "delta"))
    transformer = load_segmenter(tiny_wan).backbone.transformer
    transformer.load_state_dict(weights, strict=False)
    assert (reloaded(tiny_wan, tmp_path / "delta.safetensors") - predict(transformer)).abs().max() < 1e-5


def test_modelscope_is_exported_too(tiny_modelscope: Path, tmp_path: Path) -> None:
    from trainer.synth.backgrounds import procedural
    from trainer.synth.write import write_split

    write_split(tmp_path / "shots", 2, 1, procedural, frames=2, height=64, width=64, unseen=False)
    changes = {"backbone": "modelscope", "size": [64, 64], "streams__0__frames": 2, "frozen": ["time_embedding"]}
    settings = write_settings(tmp_path / "s.yaml", tmp_path / "shots", steps=1, **changes)
    weights = run(tiny_modelscope, settings, tmp_path / "run")
    export(Export(tmp_path / "run", tmp_path / "rem.safetensors"))
    unet = load_segmenter(tiny_modelscope, checkpoint=tmp_path / "rem.safetensors").backbone.denoiser.unet
    loaded = unet.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"which": "best"}, "no evaluated checkpoint"),
        ({"run": "nowhere"}, "holds no run"),
        ({"out": "rem.pth"}, "end in .safetensors"),
        ({"form": "delta", "names": "diffusers"}, "names"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    arguments: dict, sentence: str, trained: tuple[Path, dict], tmp_path: Path
) -> None:
    job = {"run": trained[0], "out": tmp_path / "rem.safetensors"} | arguments
    job |= {"run": Path(job["run"]), "out": tmp_path / job["out"]}
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        export(Export(**job))
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_file(
    trained: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(trained[0]), "-o", str(tmp_path / "a.safetensors"), "--dtype", "bfloat16"]) == 0
    assert str(tmp_path / "a.safetensors") in capsys.readouterr().out
