"""Promises of training on several processes: the same steps as one process with a larger batch."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from runs import FRAMES, as_published, curve, run, write_settings, write_shots
from safetensors.torch import load_file
from torch import Tensor

from trainer.export import Export, export
from trainer.run.checkpoint import DENOISER_FILE, Checkpoints

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
# Adam divides gradients by their size; with so large an eps the rounding of small ones does not show.
CHANGES = {"steps": 4, "optim__eps": 1e-4, "optim__clip_norm": 0.5, "optim__accumulate": 2}
SHARDED_ON_CPUS = Path(__file__).parents[1] / "sharded_on_cpus.py"
LAUNCHER = {
    "fsdp": "--use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP "
    "--fsdp_transformer_layer_cls_to_wrap WanTransformerBlock",
    "zero2": "--use_deepspeed --zero_stage 2",
    "zero3": "--use_deepspeed --zero_stage 3",
}
"""What docs/training-runs.md says to give accelerate's launcher."""
NEEDS_DEEPSPEED = pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs DeepSpeed: pip install deepspeed")
SHARDED = pytest.mark.parametrize(
    "kind", ["fsdp", pytest.param("zero2", marks=NEEDS_DEEPSPEED), pytest.param("zero3", marks=NEEDS_DEEPSPEED)]
)


def launch(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Two processes of a command by torchrun."""
    port = ("--master_port", str(free_port()))
    return finished("-m", "torch.distributed.run", "--nproc_per_node", "2", *port, *command)


def launch_sharded(kind: str, *arguments: str | Path) -> None:
    """Two processes of the trainer's command line that share its model, by accelerate's launcher."""
    port = ("--num_processes", "2", "--main_process_port", str(free_port()))
    finished("-m", "accelerate.commands.launch", *port, *LAUNCHER[kind].split(), SHARDED_ON_CPUS, *arguments)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def finished(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What Python ran to a good end."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *map(str, arguments)]
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return max((one[name] - value).abs().max().item() for name, value in other.items())


@pytest.fixture(scope="module")
def model(tiny_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_published(tiny_wan, tmp_path_factory.mktemp("published") / "model")


@pytest.fixture(scope="module")
def one(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """One process with batches of two, twice accumulated: its folder, and the weights it ends with."""
    folder = tmp_path_factory.mktemp("one")
    write_shots(folder / "shots", 3)
    settings = write_settings(folder / "settings.yaml", folder / "shots", streams__0__batch=2, **CHANGES)
    return folder, run(model, settings, folder / "run")


def test_two_processes_take_the_steps_of_one_with_the_double_batch(
    model: Path, one: tuple[Path, dict], tmp_path: Path
) -> None:
    """Through gloo; losses to 1e-5 of themselves, weights to a thousandth of one step."""
    folder, expected = one
    settings = write_settings(tmp_path / "s.yaml", folder / "shots", streams__0__batch=1, **CHANGES)
    command = ["trainer", "train", settings, "--model", model, "--out", tmp_path / "run"]
    launched = launch("-m", *command)
    assert launched.stdout.count("done") == 1
    assert curve(tmp_path / "run") == pytest.approx(curve(folder / "run"), rel=1e-5)
    assert curve(tmp_path / "run", "grad_norm") == pytest.approx(curve(folder / "run", "grad_norm"), rel=1e-4)
    last = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    assert largest_difference(load_file(last / DENOISER_FILE), expected) < 1e-6
    assert len(list((tmp_path / "run" / "cache").iterdir())) == 2  # both processes have the same names for them
    # One process goes on with the global batch of the two.
    shutil.rmtree(last)
    alone = run(model, folder / "settings.yaml", tmp_path / "run", resume=True)
    assert largest_difference(alone, expected) < 1e-6


@pytest.mark.thorough
def test_two_processes_train_a_head_on_features_as_one_does(
    model: Path, one: tuple[Path, dict], tmp_path: Path
) -> None:
    """The denoiser that DDP wraps is frozen then, and its output is not used."""
    head = {"objective__supervision": "rgb", "objective__decoder": "cnn", "objective__features": 0}
    changes, shots = {"steps": 3, "optim__eps": 1e-4, **head}, one[0] / "shots"
    expected = run(model, write_settings(tmp_path / "1.yaml", shots, **changes), tmp_path / "one")
    settings = write_settings(tmp_path / "2.yaml", shots, streams__0__batch=1, **changes)
    launch("-m", "trainer", "train", settings, "--model", model, "--out", tmp_path / "two")
    assert all(name.startswith("mask_decoder.") for name in expected)
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-5)
    last = Checkpoints(tmp_path / "two" / "checkpoints", 1).latest()
    assert largest_difference(load_file(last / DENOISER_FILE), expected) < 1e-6


@SHARDED
def test_two_processes_that_shard_the_model_take_the_same_steps(
    kind: str, model: Path, one: tuple[Path, dict], tmp_path: Path
) -> None:
    """Stopped after two steps of four it goes on alike, and what it exports is the whole model."""
    folder, expected = one
    settings = write_settings(tmp_path / "s.yaml", folder / "shots", streams__0__batch=1, **CHANGES)
    out, caches = tmp_path / "run", []
    for resume in ((), ("--resume",)):
        launch_sharded(kind, "train", settings, "--model", model, "--out", out, *resume)
        assert curve(out) == pytest.approx(curve(folder / "run"), rel=1e-5)
        assert curve(out, "grad_norm") == pytest.approx(curve(folder / "run", "grad_norm"), rel=1e-4)
        assert largest_difference(exported(out), expected) < 1e-6
        shutil.rmtree(out / "checkpoints" / "00000004")
        caches.append({path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.safetensors")})
    assert caches[0] == caches[1]  # nothing is encoded again, by any of four processes
    assert len({path.parent for path in caches[0]}) == 2  # of texts and of latents


@pytest.mark.thorough
@SHARDED
def test_two_processes_that_shard_the_model_compute_in_bfloat16_and_keep_float32(
    kind: str, model: Path, one: tuple[Path, dict], tmp_path: Path
) -> None:
    """As the Wan presets ask: images and videos in turn, and activations computed again on the way back.

    Losses are those of float32 but for bfloat16's rounding, 2^-9 a value, and not more exact than that. A step of 1e-6
    is a 4,000th of the distance between two bfloat16 numbers near 1, and arrives whole.
    """
    folder, _ = one
    source = {"sources": [{"kind": "synth", "root": str(folder / "shots")}], "workers": 0}
    changes = {"steps": 2, "optim__eps": 1e-4, "optim__lr": 1e-6, "optim__weight_decay": 0.0, "save_every": 2}
    curves, weights = {}, {}
    for name, batch, precision in (("whole", 2, "float32"), ("sharded", 1, "bf16")):
        streams = [{**source, "frames": frames, "batch": batch} for frames in (1, FRAMES)]
        held_out = {**source, "frames": FRAMES, "batch": 1}
        more = {"gradient_checkpointing": True, "evaluation": held_out, "evaluate_every": 2, "precision": precision}
        settings = write_settings(tmp_path / f"{name}.yaml", folder / "shots", streams=streams, **changes, **more)
        if name == "whole":
            run(model, settings, tmp_path / name)
        else:
            launch_sharded(kind, "train", settings, "--model", model, "--out", tmp_path / name)
        curves[name], weights[name] = curve(tmp_path / name), exported(tmp_path / name)
    assert curves["sharded"] == pytest.approx(curves["whole"], rel=4e-3)
    assert curves["sharded"] != pytest.approx(curves["whole"], rel=1e-6)
    began = load_file(next((model / "transformer").glob("*.safetensors")))
    steps = {name: torch.cat([(w[key] - began[key]).flatten() for key in began]) for name, w in weights.items()}
    assert steps["whole"].abs().max() < 3e-6
    assert (steps["sharded"] - steps["whole"]).norm() < 0.1 * steps["whole"].norm()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_score_whole_videos_as_one_does(
    kind: str, model: Path, one: tuple[Path, dict], tmp_path: Path
) -> None:
    """Where they share the videos, and where they share the weights; three videos among two processes."""
    folder, _ = one
    held_out = {"sources": [{"kind": "synth", "root": str(folder / "shots"), "max_samples": 3}], "frames": FRAMES}
    scored = {"steps": 1, "evaluate_every": 1, "evaluation": {**held_out, "batch": 1}, "evaluate_videos": True}
    scores = {}
    for name, batch in (("one", 2), ("two", 1)):
        settings = write_settings(tmp_path / f"{name}.yaml", folder / "shots", streams__0__batch=batch, **scored)
        command = ("train", settings, "--model", model, "--out", tmp_path / name)
        if name == "one":
            run(model, settings, tmp_path / name)
        elif kind == "ddp":
            launch("-m", "trainer", *command)
        else:
            launch_sharded(kind, *command)
        scores[name] = [curve(tmp_path / name, figure) for figure in ("J&F", "J", "F")]
    assert scores["two"] == [pytest.approx(each, abs=2e-3) for each in scores["one"]]
    assert len(scores["one"][0]) == 1


def exported(run_folder: Path) -> dict[str, Tensor]:
    """The whole denoiser of a run's last checkpoint."""
    path = run_folder.with_suffix(".safetensors")
    export(Export(run_folder, path, names="diffusers"))
    return load_file(path)
