"""Recorded steps are found under the names that recordings give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainer.exact.recording import RecordedRun, read_recording, recorded_noise


def record(folder: Path, expected: dict, batches: dict[str, float]) -> list[RecordedRun]:
    """Write a recording whose batches are told apart by the value of their pixels, and read it."""
    tensors = {}
    for name, value in batches.items():
        tensors[f"{name}.pixels"] = torch.full((1, 1, 3, 16, 16), value)
        tensors[f"{name}.masks"] = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    save_file(tensors, folder / "tensors.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected))
    return read_recording(folder)


def seen(run: RecordedRun) -> list[float]:
    return [step.inputs["pixels"].flatten()[0].item() for step in run.steps]


KINDS = [{"kind": "image", "loss": 1.0}, {"kind": "video", "loss": 1.0}, {"kind": "image", "loss": 1.0}]


@pytest.mark.parametrize(
    ("batches", "values"),
    [
        ({"image": 1, "video": 2}, [1, 2, 1]),
        ({"step0.image": 1, "step1.video": 2, "step2.image": 3}, [1, 2, 3]),
        ({"image_0": 1, "image_1": 2, "video_0": 3}, [1, 3, 2]),
    ],
)
def test_steps_in_a_row_find_their_batches(tmp_path, batches, values):
    (run,) = record(tmp_path, {"steps": KINDS}, batches)
    assert seen(run) == values
    assert [step.number for step in run.steps] == [0, 1, 2]


def test_entries_by_name_are_runs_of_their_own(tmp_path):
    expected = {
        "stage1_image": {"loss": 1.0},
        "stage2_video": [{"loss": 1.0}, {"loss": 2.0}],
        "later": {"steps": [{"kind": "video", "loss": 1.0, "iteration": 3500}, {"kind": "video", "loss": 1.0}]},
        "prompts": {"image": ["a", "b"], "video": "c"},
        "lr": 1e-5,
    }
    runs = {run.name: run for run in record(tmp_path, expected, {"image": 1, "video": 2})}
    assert {name: [step.kind for step in run.steps] for name, run in runs.items()} == {
        "stage1_image": ["image"],
        "stage2_video": ["video", "video"],
        "later": ["video", "video"],
    }
    assert [step.number for step in runs["later"].steps] == [3500, 3501]
    assert runs["stage1_image"].steps[0].prompts == ("a", "b")
    assert runs["stage2_video"].steps[1].prompts == ("c",)


def test_recorded_settings_of_the_optimizer_are_taken_over(tmp_path):
    expected = {
        "steps": [{"kind": "image", "loss": 1.0, "step": 5, "lr": [1e-6, 1e-6], "clip_val": 0.001}],
        "optimizer": {"weight_decay": 0.5, "betas": [0.5, 0.9], "no_decay_if_name_contains": ["norm"]},
        "lr_schedule": "x1.0 for step<4, x0.1 after",
    }
    (run,) = record(tmp_path, expected, {"image": 1})
    overrides = run.optim_overrides()
    assert overrides.pop("optim.lr") == pytest.approx(1e-5)
    assert overrides == {
        "optim.weight_decay": 0.5,
        "optim.betas": [0.5, 0.9],
        "optim.no_decay": ["norm"],
        "optim.clip_value": 0.001,
        "optim.schedule": {"kind": "steps", "at": [[4, 0.1]]},
    }


def test_noise_goes_frame_by_frame_and_carries_on_from_step_to_step(tmp_path):
    (run,) = record(tmp_path, {"steps": KINDS}, {"image": 1, "video": 2})
    generator, own = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for step in run.steps:
        drawn = torch.randn([2 * 3, 4, 2, 2], generator=own)
        noise = recorded_noise(step, torch.Size([2, 4, 3, 2, 2]), generator)
        assert torch.equal(noise[1, :, 2], drawn[5])
    assert recorded_noise(run.steps[0], torch.Size([1, 4, 1, 2, 2]), None) is None
