"""What every backbone promises through the segmenter, on small real models with random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from progress_log import Cancel, Cancelled
from red_model import RedBackbone
from torch.profiler import ProfilerActivity, profile

from rem_engine import Segmenter, load_segmenter
from rem_engine.frames import ArrayFrames

FRAMES = np.random.default_rng(0).integers(0, 256, (7, 40, 48, 3), dtype=np.uint8)
PROMPTS = ("fire", "the smoke", "rain")
ROUNDING = 1e-5


@dataclass(frozen=True)
class Model:
    folder: Path
    size: tuple[int, int]

    def load(self, protocol: str = "shot", folder: Path | None = None) -> Segmenter:
        overlap = 2 if protocol == "shot" else None
        return load_segmenter(
            folder or self.folder, protocol=protocol, size=self.size, window=5, overlap=overlap, cuts=(), device="cpu"
        )


@pytest.fixture(scope="module", params=["Wan", "ModelScope"])
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "Wan":
        return Model(request.getfixturevalue("tiny_wan"), (32, 32))
    return Model(request.getfixturevalue("tiny_modelscope"), (64, 64))


@pytest.fixture(scope="module")
def segmenter(model: Model) -> Segmenter:
    return model.load()


@pytest.mark.slow
def test_prompts_in_one_batch_do_not_touch_each_other(segmenter: Segmenter) -> None:
    together = segmenter.segment(FRAMES, PROMPTS).soft
    alone = torch.cat([segmenter.segment(FRAMES, [prompt]).soft for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, atol=ROUNDING, rtol=0)
    assert (together[0] - together[1]).abs().max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_masks_do_not_depend_on_how_many_prompts_go_together(
    model: Model, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    segmenter, soft = model.load(protocol), []
    for count in (3, 2, 1):
        monkeypatch.setattr(segmenter.backbone, "prompts_per_pass", lambda latents, count=count: count)
        soft.append(segmenter.segment(FRAMES, PROMPTS).soft)
        assert segmenter.prompts_per_pass == count
    for other in soft[1:]:
        torch.testing.assert_close(other, soft[0], atol=ROUNDING, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_a_resumed_run_gives_the_masks_of_an_uninterrupted_one(model: Model, protocol: str) -> None:
    segmenter = model.load(protocol)
    whole = segmenter.segment(FRAMES, PROMPTS[:2]).soft
    embeds = segmenter.encode_prompts(PROMPTS[:2])
    rest = [chunk.soft for chunk in segmenter.stream(ArrayFrames(FRAMES), embeds, first_frame=6)]
    assert torch.equal(torch.cat(rest, dim=1), whole[:, 6:])


def test_a_cancelled_run_ends_at_once_and_the_model_goes_on_working(segmenter: Segmenter) -> None:
    with pytest.raises(Cancelled):
        segmenter.segment(FRAMES, PROMPTS, progress=Cancel("steps", 2))
    assert segmenter.segment(FRAMES[:1], PROMPTS[:1]).soft.shape == (1, 1, 40, 48)


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_told(segmenter: Segmenter, prompt: str) -> None:
    with pytest.raises(ValueError, match="The prompt is empty"):
        segmenter.segment(FRAMES, ["fire", prompt])


def test_as_many_prompts_go_together_as_half_of_the_memory_holds(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = segmenter.backbone.encode_video(torch.zeros(5, 3, 64, 64))

    def fit(memory: int) -> int:
        monkeypatch.setattr(f"{type(segmenter.backbone).__module__}.available_bytes", lambda device: memory)
        return segmenter.backbone.prompts_per_pass(latents)

    assert fit(0) == 1
    few, many = fit(10 * 2**20), fit(40 * 2**20)
    assert 4 * few <= many <= 4 * (few + 1)


@pytest.mark.slow
def test_a_prompt_takes_no_more_memory_than_estimated(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = segmenter.backbone
    latents = backbone.encode_video(torch.zeros(9, 3, 192, 256))
    noise, row = backbone.draw_noise(latents, 0), backbone.encode_text("fire")

    def peak(count: int) -> int:
        embeds = row.expand(count, -1, -1)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            backbone.predict_mask_latents(latents, embeds, noise)
        events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).cumsum(0)
        return int(held.max())

    memory = 2**40
    monkeypatch.setattr(f"{type(backbone).__module__}.available_bytes", lambda device: memory)
    estimate = memory // 2 / backbone.prompts_per_pass(latents)
    text = row.nbytes  # the prompt itself, of which a model of this size is hardly larger
    each = (peak(5) - peak(1)) / 4
    assert 0.3 * estimate < each <= estimate + text


@pytest.mark.parametrize(("model", "expected"), [("Wan", "bfloat16"), ("ModelScope", "float32")], indirect=["model"])
def test_auto_on_a_gpu_is_what_the_authors_evaluate_in(
    model: Model, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for loader in ("wan.load_wan", "modelscope.load_modelscope"):
        name = f"rem_engine.backbones.{loader}"
        monkeypatch.setattr(name, lambda folder, **options: asked.append(options) or RedBackbone())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(1))  # the GPU is tried out with one
    load_segmenter(model.folder)
    load_segmenter(model.folder, dtype="float16")
    load_segmenter(model.folder, device="cpu")
    assert [options["device"].type for options in asked] == ["cuda", "cuda", "cpu"]
    assert [options["dtype"] for options in asked] == [getattr(torch, expected), torch.float16, torch.float32]


def test_rem_json_gives_the_defaults(model: Model, tmp_path: Path) -> None:
    folder = shutil.copytree(model.folder, tmp_path / "copy")
    assert load_segmenter(folder, device="cpu").backbone.default_size == (512, 512)
    (folder / "rem.json").write_text(json.dumps({"name": "tiny", "size": [64, 128], "window": 5, "overlap": 2}))
    backbone = load_segmenter(folder, device="cpu").backbone
    assert (backbone.name, backbone.default_size) == ("tiny", (64, 128))
    assert (backbone.default_window, backbone.default_overlap) == (5, 2)
    (folder / "rem.json").write_text(json.dumps({"name": "tiny"}))
    with pytest.raises(ValueError, match=r"rem\.json must give name, size"):
        model.load(folder=folder)
