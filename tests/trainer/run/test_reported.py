"""Where a training is reported to, what it says beforehand of what it takes, and whence its model may come."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.runs import run, write_settings, write_shots
from trainer.commands.cli import main
from trainer.model.base_models import base_model
from trainer.run.optim import build_optimizer
from trainer.run.training_log import TrainingLog
from trainer.settings import OptimSettings, load_settings


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("data") / "shots")


def sizes(model: Path) -> dict[str, int]:
    (path,) = (model / "transformer").glob("*.safetensors")
    return {name: tensor.numel() for name, tensor in load_file(path).items()}


def test_a_dry_run_says_what_a_run_takes_and_leaves_nothing(
    tiny_wan: Path, shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, out = write_settings(tmp_path / "s.yaml", shots), tmp_path / "run"
    command = ["train", str(settings), "--model", str(tiny_wan), "--out", str(out), "--dry-run"]
    assert main(command) == 0
    said = capsys.readouterr().out
    weights = sizes(tiny_wan)
    frozen = sum(n for name, n in weights.items() if "patch_embedding" in name or "condition_embedder" in name)
    every, trained = sum(weights.values()), sum(weights.values()) - frozen
    memory = 4 * every + 12 * trained  # weights; a gradient and two moments of what learns
    assert f"memory   {memory / 1e9:.3g} GB" in said
    assert f"disk     {2 * 12 * trained / 1e9:.3g} GB of checkpoints" in said  # the last two, as the settings have it
    assert "6 steps of about " in said
    assert not out.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml"]


def test_trackers_that_are_unknown_or_not_installed_are_told_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "mini", "--model", "mini", "--out", str(tmp_path / "run"), "--report-to"]
    assert main([*command, "tensorboard,mlflow"]) == 2
    assert "There is no tracker 'mlflow' here; --report-to takes tensorboard, wandb, trackio" in capsys.readouterr().err
    monkeypatch.setattr("trainer.run.training_log.find_spec", lambda name: None)
    assert main([*command, "wandb"]) == 2
    assert "wandb is not installed: pip install wandb" in capsys.readouterr().err


def test_figures_and_pictures_go_to_every_tracker_and_a_resumed_run_stays_the_same_run(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By stand-ins for the packages of Weights & Biases and Trackio, called as accelerate calls those."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("wandb", "trackio"):
        (packages / f"{name}.py").write_text(_STAND_IN)
    monkeypatch.syspath_prepend(str(packages))
    import trackio
    import wandb

    settings = load_settings(write_settings(tmp_path / "s.yaml", shots, steps=2))
    run(tiny_wan, tmp_path / "s.yaml", tmp_path / "run", report_to=("wandb", "trackio"))
    with TrainingLog(tmp_path / "run" / "logs", 2, 3, True, report_to=("wandb", "trackio")) as log:
        log.scalars(2, {"J": 0.5})
    for package in (wandb, trackio):
        (first, again) = package.RUNS
        assert [step for step, values in first.logged if "loss" in values] == [0, 1]
        assert any("frame, prediction, target" in values for _, values in first.logged)
        assert again.logged == [(2, {"J": 0.5})]
        assert first.asked.get("id", first.asked["name"]) == again.asked.get("id", again.asked["name"])
        assert first.asked["resume"] == "allow" and first.finished and again.finished
        assert first.config["optim"]["lr"] == settings.optim.lr
    assert not list((tmp_path / "run" / "logs").glob("events*"))  # TensorBoard was not asked for


_STAND_IN = """
import importlib.machinery

__version__ = "0"
__spec__ = importlib.machinery.ModuleSpec(__name__, None)
RUNS = []


class Image:
    def __init__(self, pixels):
        assert pixels.dtype.name == "uint8" and pixels.shape[-1] == 3


class Config(dict):
    def update(self, values, allow_val_change=False):
        RUNS[-1].config.update(values)


config = Config()


class Run:
    def __init__(self, asked):
        self.asked, self.logged, self.config, self.finished = asked, [], {}, False

    def log(self, values, step=None):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


def init(**asked):
    RUNS.append(Run(asked))
    return RUNS[-1]


def finish():
    RUNS[-1].finish()
"""


def test_a_name_on_the_hub_is_a_model_folder(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloaded where no such folder is; of a dry run the configurations and the tokenizer alone."""
    import huggingface_hub

    asked = []

    def download(repo: str, allow_patterns: list[str]) -> str:
        asked.append((repo, "*.safetensors" in allow_patterns, "*.json" in allow_patterns))
        return str(tiny_wan)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    assert base_model("Wan-AI/Wan2.1-T2V-1.3B-Diffusers") == str(tiny_wan)
    assert base_model("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", weights=False) == str(tiny_wan)
    assert asked == [
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", True, True),
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", False, True),
    ]
    assert main(["check-data", str(shots), "--kind", "synth", "--model", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"]) == 0
    assert asked.pop() == asked[1]  # whose tokenizer is all that is wanted
    (tmp_path / "models" / "wan").mkdir(parents=True)
    for folder in ("mini", "models/wan", "../models/wan", "/models/wan", "a/b/c"):
        assert base_model(folder) == folder
    assert len(asked) == 2


def test_a_name_that_the_hub_does_not_give_is_told_in_a_sentence(
    tmp_path: Path, shots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    def download(*_: object, **__: object) -> str:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    settings = write_settings(tmp_path / "s.yaml", shots)
    assert main(["train", str(settings), "--model", "Nobody/Nothing", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert (
        "There is no folder Nobody/Nothing, and the Hugging Face hub gives nothing under that name (no network)" in said
    )
    assert "Traceback" not in said


def test_eight_bits_need_a_package_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match="adamw_8bit needs a package that is not installed: pip install bitsandbytes"):
        build_optimizer(torch.nn.Linear(2, 2), OptimSettings(optimizer="adamw_8bit", lr=1e-3))


@pytest.mark.thorough
def test_moments_of_eight_bits_take_nearly_the_steps_of_adamw_and_resume(
    tiny_wan: Path, shots: Path, tmp_path: Path
) -> None:
    """Where bitsandbytes is installed."""
    pytest.importorskip("bitsandbytes")
    changes = {"optim__optimizer": "adamw_8bit", "save_every": 3}
    exact = run(tiny_wan, write_settings(tmp_path / "a.yaml", shots), tmp_path / "a")
    settings = write_settings(tmp_path / "b.yaml", shots, **changes)
    coarse = run(tiny_wan, settings, tmp_path / "b")
    for name, value in exact.items():
        assert (coarse[name] - value).abs().mean() < 1e-3, name  # of steps of 1e-3, six of them
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "00000006")
    again = run(tiny_wan, settings, tmp_path / "b", resume=True)
    assert all(torch.equal(again[name], value) for name, value in coarse.items())
