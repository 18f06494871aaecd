"""Runs of the trainer by other objectives than REM's: caches, checkpoints, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import run, write_settings, write_shots
from safetensors.torch import load_file

from trainer.data.cache import cache_latents
from trainer.data.open import open_sources
from trainer.export import Export, export
from trainer.model.trainable import load_trainable
from trainer.model.trained import load_trained_segmenter
from trainer.run.checkpoint import AVERAGE_FILE, Checkpoints
from trainer.settings import load_settings

HEAD_ALONE = {"objective__supervision": "rgb", "objective__decoder": "cnn", "objective__features": 0}
TUNED = {"objective__supervision": "rgb", "objective__decoder": "vae_tuned"}


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("data") / "shots", 3)


def test_cached_masks_are_those_of_the_files(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    settings = load_settings(write_settings(tmp_path / "s.yaml", shots))
    data = settings.streams[0]
    source = open_sources(data, settings.size)
    trainable = load_trainable(tiny_wan, None, settings, torch.device("cpu"))
    cached = cache_latents(tmp_path / "cache", trainable, source, data, settings.size)
    for index in range(len(source)):
        kept, read = (each.read(index, data.frames, np.random.default_rng(0)) for each in (cached, source))
        assert np.array_equal(kept.masks.numpy(), read.masks)


def test_a_decoder_that_is_tuned_is_kept_and_brought_back(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "s.yaml", shots, steps=2, ema=0.5, **TUNED)
    weights = run(tiny_wan, settings, tmp_path / "run")
    decoder = {name for name in weights if name.startswith("mask_decoder.decoder.")}
    average = load_file(Checkpoints(tmp_path / "run" / "checkpoints", 1).latest() / AVERAGE_FILE)
    vae = load_trained_segmenter(tmp_path / "run", torch.device("cpu")).backbone._trainable.backbone.vae
    assert decoder
    for name in decoder:
        assert torch.equal(vae.decoder.get_parameter(name.removeprefix("mask_decoder.decoder.")), average[name]), name


def test_an_ablation_is_not_exported(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    run(tiny_wan, write_settings(tmp_path / "s.yaml", shots, steps=1, **HEAD_ALONE), tmp_path / "run")
    with pytest.raises(ValueError, match="trained an ablation .decoder cnn"):
        export(Export(tmp_path / "run", tmp_path / "rem.safetensors"))
