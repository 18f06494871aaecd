"""Distilling a mask decoder: it learns, goes on after a stop, and keeps to what it was begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import write_settings, write_shots
from safetensors.torch import load_file

from rem_engine.backbones.load import load_backbone
from rem_engine.backbones.mask_decoder import decoder_hash, distilled_from, load_mask_decoder
from trainer.data.join import Joined
from trainer.data.sample import BrokenSample, Sample
from trainer.distill import distill as module
from trainer.distill.distill import Distillation, distill
from trainer.distill.examples import Examples
from trainer.settings import load_settings


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, tiny_wan: Path) -> Distillation:
    """A distillation of moments."""
    folder = tmp_path_factory.mktemp("distill")
    settings = load_settings(write_settings(folder / "settings.yaml", write_shots(folder / "shots")))
    return Distillation(
        settings, str(tiny_wan), folder / "work", folder / "decoder.safetensors", samples=4, steps=4, batch=2, width=8
    )


@pytest.mark.slow
def test_examples_are_what_the_vae_makes_of_mask_latents_and_of_predictions(task: Distillation, tmp_path: Path) -> None:
    task = replace(task, work=tmp_path / "work", out=tmp_path / "decoder.safetensors")
    distill(task)
    backbone, examples = load_backbone(task.model, device="cpu"), Examples(task.work / "examples")
    assert examples.latents.shape == (8, 16, 2, 4, 4) and examples.masks.shape == (8, 5, 32, 32)
    for index in range(len(examples.latents)):
        latents, masks = examples.batch([index])
        decoded = backbone.decode_masks(latents).mean(dim=1)
        torch.testing.assert_close(masks[0], decoded, atol=1e-3, rtol=0)
    assert not np.isclose(examples.latents[::2], examples.latents[1::2]).all(axis=(1, 2, 3, 4)).any()
    loaded = load_mask_decoder(task.out, backbone.vae, torch.device("cpu"))
    assert distilled_from(task.out) == decoder_hash(backbone.vae)
    assert loaded.to_frames.weight.shape[1] == 8


@pytest.mark.slow
def test_it_comes_nearer_to_the_vae(task: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_OUT", 2)
    errors = [
        distill(replace(task, work=tmp_path / str(steps), out=tmp_path / "out.safetensors", steps=steps))["soft_error"]
        for steps in (1, 40)
    ]
    assert errors[1] < 0.75 * errors[0]


@pytest.mark.slow
def test_it_begins_where_another_decoder_ended(
    task: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step moves the weights of the one it is given, and comes as near to the VAE as that one did."""
    monkeypatch.setattr(module, "HELD_OUT", 2)
    first, second = (replace(task, work=tmp_path / name, out=tmp_path / f"{name}.safetensors") for name in "ab")
    near = distill(replace(first, steps=40))["soft_error"]
    again = distill(replace(second, steps=1, start=first.out))["soft_error"]
    assert again == pytest.approx(near, rel=0.1)
    given, found = load_file(first.out), load_file(second.out)
    assert any(not torch.equal(given[name], found[name]) for name in given)
    with pytest.raises(ValueError, match=r"has a width of 8: give --width 8\."):
        distill(replace(task, work=tmp_path / "c", start=first.out, width=16))
    with pytest.raises(ValueError, match=r"was begun with other settings \(start\)"):
        distill(replace(second, steps=1))


@pytest.mark.slow
def test_a_stop_at_any_point_changes_nothing(
    task: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    whole = replace(task, work=tmp_path / "whole", out=tmp_path / "whole.safetensors")
    stopped = replace(task, work=tmp_path / "stopped", out=tmp_path / "stopped.safetensors")
    distill(whole)
    calls = 0

    class Stop(Exception):
        pass

    def stops_at(number: int, function):
        def counted(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number:
                raise Stop
            return function(*args, **options)

        return counted

    from trainer.distill import examples

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(examples, "_examples_of", stops_at(3, examples._examples_of))
        distill(stopped)
    calls = 0
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Examples, "batch", stops_at(5, Examples.batch))  # two steps, their picture, and into the third
        distill(stopped)
    assert (stopped.work / "checkpoints").is_dir() and not stopped.out.exists()
    distill(stopped)
    expected, resumed = load_file(whole.out), load_file(stopped.out)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert np.array_equal(Examples(whole.work / "examples").masks, Examples(stopped.work / "examples").masks)


def test_data_that_cannot_be_read_end_it_and_say_so_of_each_file_once(
    task: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    def broken(self: object, *_: object) -> Sample:
        nonlocal tries
        tries += 1
        raise BrokenSample(tmp_path / "a.png", "is damaged.")

    monkeypatch.setattr(Joined, "read", broken)
    shots = Path(task.settings.streams[0].sources[0].root)
    settings = load_settings(write_settings(tmp_path / "settings.yaml", shots, streams__0__on_broken="skip"))
    with pytest.raises(ValueError, match=r"100 samples of .* in a row cannot be trained on, the last one: .*a\.png"):
        distill(replace(task, settings=settings, work=tmp_path / "work"))
    assert tries == 100
    assert [record.message for record in caplog.records if "left out" in record.message] == [
        f"sample left out: {tmp_path / 'a.png'}: is damaged."
    ]


def test_a_working_folder_goes_on_with_what_it_was_begun_with(task: Distillation) -> None:
    distill(task)
    with pytest.raises(ValueError, match=r"was begun with other settings \(steps\)"):
        distill(replace(task, steps=5))
    (task.work / "distillation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged"):
        distill(task)


def test_it_is_for_wan_alone(task: Distillation) -> None:
    with pytest.raises(ValueError, match="Wan alone"):
        distill(replace(task, settings=load_settings("modelscope_stage1")))
