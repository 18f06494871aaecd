"""Promises of the caches: nothing is encoded twice, nothing stale is used, nothing is lost by storing it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from runs import FRAMES, SIZE, as_published, write_settings, write_shots

import trainer.data.cache
from trainer.data.cache import CachedSource, Share, TextCache, cache_latents, cache_texts
from trainer.data.join import Joined
from trainer.data.open import open_sources
from trainer.data.sample import BrokenSample
from trainer.model.objective import encode_batch, model_clip
from trainer.model.trainable import Trainable, load_trainable
from trainer.settings import TrainSettings, load_settings

ROOT = Path(__file__).parents[3]
FILL = """
import sys
from pathlib import Path
import torch
from trainer.data.cache import cache_latents
from trainer.data.open import open_sources
from trainer.model.trainable import load_trainable
from trainer.settings import load_settings
model, settings, cache = map(Path, sys.argv[1:])
settings = load_settings(settings)
trainable = load_trainable(model, None, settings, torch.device("cpu"))
data = settings.streams[0]
cache_latents(cache, trainable, open_sources(data, settings.size), data, settings.size)
"""


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    return write_shots(tmp_path / "shots", 3)


@pytest.fixture
def settings(shots: Path, tmp_path: Path) -> TrainSettings:
    return load_settings(write_settings(tmp_path / "settings.yaml", shots))


@pytest.fixture(scope="module")
def trainable(tiny_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainable:
    """A model that counts what it encodes, in `encoded`."""
    folder = tmp_path_factory.mktemp("settings")
    trainable = load_trainable(
        tiny_wan, None, load_settings(write_settings(folder / "s.yaml", folder)), torch.device("cpu")
    )
    trainable.encoded = Counter()
    for name in ("encode_video", "encode_masks", "encode_text"):
        setattr(trainable, name, _counted(trainable.encoded, name, getattr(trainable, name)))
    return trainable


def _counted(counts: Counter, name: str, encode):
    def counted(value):
        counts[name] += 1
        return encode(value)

    return counted


def texts(source: Joined) -> list[str]:
    return [source.text(index) for index in range(len(source))]


class Caches:
    """What a run does about its caches, and how often it encodes for that."""

    def __init__(self, folder: Path, trainable: Trainable) -> None:
        self.folder, self._trainable = folder, trainable

    def fill(self, settings: TrainSettings, share: Share | None = None) -> tuple[Joined, TextCache, int]:
        self._trainable.encoded.clear()
        (data,) = settings.streams
        source = open_sources(data, settings.size)
        text = cache_texts(self.folder, self._trainable, texts(source), share)
        encoded = cache_latents(self.folder, self._trainable, source, data, settings.size, share)
        return encoded, text, sum(self._trainable.encoded.values())


@pytest.fixture
def caches(tmp_path: Path, trainable: Trainable) -> Caches:
    return Caches(tmp_path / "cache", trainable)


def test_what_is_cached_is_what_would_be_encoded(caches: Caches, settings: TrainSettings, trainable: Trainable) -> None:
    encoded, text, _ = caches.fill(settings)
    source = open_sources(settings.streams[0])
    for index in range(len(source)):
        sample = source.read(index, FRAMES, np.random.default_rng(0))
        expected = encode_batch(trainable, [sample], settings.size)
        got = encoded.read(index, FRAMES, np.random.default_rng(1))
        assert torch.equal(got.latents, expected.latents[0])
        assert torch.equal(got.mask_latents, expected.mask_latents[0])
        assert torch.equal(text.rows([got.text]), expected.rows)


def test_clips_go_into_the_cache_in_one_pass(
    caches: Caches, settings: TrainSettings, trainable: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To latents that diffusers gives, too, by the calls that are not made here."""
    vae, sample = trainable.backbone.vae, open_sources(settings.streams[0]).read(0, FRAMES, np.random.default_rng(0))
    frames, _ = model_clip(sample, settings.size)
    expected = vae.encode(frames.movedim(1, 0)[None]).latent_dist.mode()
    monkeypatch.setattr(vae, "encode", lambda *_: pytest.fail("encoded by diffusers"))
    encoded, _, _ = caches.fill(settings)
    latents = trainable.backbone.denormalise(encoded.read(0, FRAMES, np.random.default_rng(0)).latents[None])
    torch.testing.assert_close(latents, expected, atol=2e-5, rtol=0)


def test_another_process_finds_the_cache_of_a_model_whose_configuration_leaves_things_out(
    tiny_wan: Path, shots: Path, tmp_path: Path
) -> None:
    model = as_published(tiny_wan, tmp_path / "model")
    settings = write_settings(tmp_path / "settings.yaml", shots)
    for seed in "012":
        subprocess.run(
            [sys.executable, "-c", FILL, str(model), str(settings), str(tmp_path / "cache")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        assert len([*(tmp_path / "cache").glob("latents-*")]) == 1


def test_unchanged_data_is_not_encoded_again(caches: Caches, settings: TrainSettings) -> None:
    assert caches.fill(settings)[2] > 0
    assert caches.fill(settings)[2] == 0


def test_a_clip_of_many_sentences_is_encoded_once(
    caches: Caches, settings: TrainSettings, trainable: Trainable
) -> None:
    encoded, _, _ = caches.fill(settings)
    assert len(encoded) > 3
    assert trainable.encoded["encode_video"] == 3


def test_a_changed_picture_is_encoded_anew(caches: Caches, settings: TrainSettings, shots: Path) -> None:
    before, _, _ = caches.fill(settings)
    old = before.read(0, FRAMES, np.random.default_rng(0)).latents
    picture = sorted(shots.rglob("JPEGImages/*/*.jpg"))[0]
    cv2.imwrite(str(picture), 255 - cv2.imread(str(picture)))
    after, _, count = caches.fill(settings)
    assert count > 0
    assert not torch.equal(after.read(0, FRAMES, np.random.default_rng(0)).latents, old)


def test_a_touched_mask_is_looked_at_again(caches: Caches, settings: TrainSettings, shots: Path) -> None:
    caches.fill(settings)
    mask = sorted(shots.rglob("alpha/**/*.png"))[0]
    os.utime(mask, ns=(0, 0))
    assert caches.fill(settings)[2] > 0


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_changed_weights_encode_anew(part: str, caches: Caches, settings: TrainSettings, trainable: Trainable) -> None:
    caches.fill(settings)
    module = getattr(trainable.backbone, part)
    parameter = next(value for name, value in module.named_parameters() if name.startswith("encoder."))
    kept = parameter.detach().clone()
    try:
        parameter.data.view(-1)[0] += 0.5
        _, _, count = caches.fill(settings)
    finally:
        parameter.data.copy_(kept)
    assert count > 0
    assert caches.fill(settings)[2] == 0  # what the first weights made is still there


def test_weights_of_the_decoder_are_not_asked_for(
    caches: Caches, settings: TrainSettings, trainable: Trainable
) -> None:
    caches.fill(settings)
    parameter = next(trainable.backbone.vae.decoder.parameters())
    kept = parameter.detach().clone()
    try:
        parameter.data.add_(1.0)
        assert caches.fill(settings)[2] == 0
    finally:
        parameter.data.copy_(kept)


def test_another_size_and_length_encode_anew(caches: Caches, settings: TrainSettings, tmp_path: Path) -> None:
    caches.fill(settings)
    larger = settings.model_copy(update={"size": (48, SIZE)})
    encoded, _, count = caches.fill(larger)
    assert count > 0
    assert encoded.read(0, FRAMES, np.random.default_rng(0)).latents.shape[-2:] == (6, SIZE // 8)
    assert caches.fill(settings)[2] == 0


@pytest.mark.slow
def test_an_interrupted_build_goes_on(
    caches: Caches, settings: TrainSettings, trainable: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a shard: those before it are kept, and nothing half-written is left."""
    monkeypatch.setattr("trainer.data.cache._SAMPLES_PER_SHARD", 1)
    _, _, whole = caches.fill(settings)
    fresh = Caches(caches.folder.with_name("fresh"), trainable)
    with monkeypatch.context() as patched:
        encode, calls = trainable.encode_masks, []

        def interrupted(masks):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return encode(masks)

        patched.setattr(trainable, "encode_masks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fresh.fill(settings)
        done = sum(trainable.encoded.values())
    assert not list(fresh.folder.rglob(".*"))
    encoded, _, rest = fresh.fill(settings)
    assert done > 0
    assert done + rest <= whole + 1  # the clip of the interrupted shard is encoded twice
    assert encoded.read(len(encoded) - 1, FRAMES, np.random.default_rng(0)).latents.isfinite().all()


def test_processes_share_the_work(
    caches: Caches, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, trainable: Trainable
) -> None:
    monkeypatch.setattr("trainer.data.cache._SAMPLES_PER_SHARD", 2)
    counts = [caches.fill(settings, Share(index, 2))[2] for index in range(2)]
    assert min(counts) > 0
    assert caches.fill(settings)[2] == 0


def test_a_broken_sample_stays_broken(caches: Caches, settings: TrainSettings, shots: Path) -> None:
    """It is left out when the cache is made, and refused by name wherever it is drawn."""
    picture = sorted(shots.rglob("JPEGImages/*/*.jpg"))[0]
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(BrokenSample, match=picture.name):
        caches.fill(settings)
    (data,) = settings.streams
    skipping = settings.model_copy(update={"streams": (data.model_copy(update={"on_broken": "skip"}),)})
    encoded, _, _ = caches.fill(skipping)
    with pytest.raises(BrokenSample, match=picture.name):
        encoded.read(0, FRAMES, np.random.default_rng(0))
    assert encoded.read(len(encoded) - 1, FRAMES, np.random.default_rng(0)).latents.isfinite().all()


def test_clips_drawn_at_random_are_not_cached(caches: Caches, settings: TrainSettings) -> None:
    """Of shots longer than the clips asked for, other frames are drawn every time."""
    (data,) = settings.streams
    short = settings.model_copy(update={"streams": (data.model_copy(update={"frames": 1}),)})
    encoded, _, _ = caches.fill(short)
    assert not any(isinstance(part, CachedSource) for part in encoded.parts)


def test_a_sentence_that_is_not_known_is_an_error(caches: Caches, settings: TrainSettings) -> None:
    _, text, _ = caches.fill(settings)
    with pytest.raises(ValueError, match="is damaged: remove it, and it is made anew"):
        text.rows(["never written"])


def test_two_that_fill_one_cache_at_once_leave_it_whole(
    caches: Caches, settings: TrainSettings, trainable: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within each shard that one writes, another writes the same."""
    save, inner = trainer.data.cache.save_file, []

    def interleaved(tensors: dict, path: Path, metadata: dict) -> None:
        save(tensors, path, metadata)
        if not inner:
            inner.append(path)
            Caches(caches.folder, trainable).fill(settings)
            inner.pop()
        assert path.is_file()

    monkeypatch.setattr(trainer.data.cache, "save_file", interleaved)
    encoded, _, _ = caches.fill(settings)
    monkeypatch.undo()
    assert caches.fill(settings)[2] == 0  # all of it is there
    for index in range(len(encoded)):
        encoded.read(index, FRAMES, np.random.default_rng(0))
    assert not list(caches.folder.rglob("*.tmp"))
