"""Text embeddings, and latents of samples that are always the same, encoded once and kept on disk in shards.

Values are stored as they are used, so that training from a cache gives the weights that training without one gives:
latents in float32; text embeddings without their zero rows and columns, in bfloat16 where that loses nothing, as with a
text encoder that computes in it. Float16 latents would halve the disk and move REM-mini's loss by 1e-5 to 4e-5 of
itself, where an exact step may differ by 1e-5; reading in float32 takes less than a hundredth of a step
(benchmarks/training.py).

What a cache was made from, code, weights, sizes and sentences, names its folder; the files of its samples are noted in
each shard. One that was made from anything else is never read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from rem_engine.backbones.base import fit_text_rows
from rem_engine.checkpoints.safetensors_file import read_index
from rem_engine.input_files import told_as_damage
from rem_engine.progress import SILENT, Progress, counted
from rem_engine.whole_files import told_when_full, written_whole

from ..model.objective import model_clip
from .broken import broken_policy
from .fingerprint import ENCODING_PARTS, files_hash, module_hash, tensor_hash, value_hash
from .join import Joined
from .sample import BrokenSample, Sample, Source, Wrapping

if TYPE_CHECKING:
    from ..model.trainable import Trainable
    from ..settings import DataSettings, SourceSettings

VERSION = 2
"""Rises when the same files and weights would be encoded to something else."""

# Few, since a shard's whole header is read for each of them.
_TEXTS_PER_SHARD = 64
_SAMPLES_PER_SHARD = 32


@dataclass(frozen=True)
class Share:
    """The part of the shards that the process `rank` of `world_size` makes: every `world_size`-th, from `rank` on."""

    rank: int = 0
    world_size: int = 1

    def of(self, shards: int) -> range:
        """Numbers of those among so many."""
        return range(self.rank, shards, self.world_size)

    def agreed(self, folder: Path) -> Path:
        """The folder as the first process names it, for all of them; every process of the run calls this."""
        if self.world_size == 1:
            return folder
        from accelerate.utils import broadcast_object_list

        (agreed,) = broadcast_object_list([folder])
        return agreed


@dataclass(frozen=True)
class EncodedSample:
    """A sample whose clip has been through the VAE; see `Sample`.

    Attributes:
        latents: of the video, float32 [C,t,h,w], normalised.
        mask_latents: of the masks, the same.
        masks: uint8 [T,H,W] of 0 and 1, at the model's size.
        text: the sentence as it is encoded.
    """

    latents: Tensor
    mask_latents: Tensor
    masks: Tensor
    text: str


ReadyToTrain: TypeAlias = Joined[Sample | EncodedSample]
"""The sources of a stream, of which some may be read in encoded form."""


class TextCache:
    """Text embeddings of known sentences.

    Args:
        folder: of the shards.
        shards: how many there are.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        self._folder, self._shards = folder, shards
        self._width: int | None = None

    def rows(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> float32 [B,77,D].

        Raises:
            ValueError: the cache is damaged, or does not know one.
        """
        return torch.stack([self._row(value_hash(text)) for text in texts])

    def _row(self, name: str) -> Tensor:
        path = _shard(self._folder, _place(name, self._shards))
        with told_as_damage(_damaged(path)):
            file = read_index(path)
            if self._width is None:
                self._width = int(file.metadata["width"])
            return fit_text_rows(file.tensors[name].read(), self._width)


class CachedSource(Wrapping):
    """A source that gives another one's samples encoded: a `Source` of `EncodedSample`.

    Args:
        source: what was encoded.
        folder: of the shards.
        shape: [C,t,h,w] of its latents.
    """

    def __init__(self, source: Source[Sample], folder: Path, shape: tuple[int, ...]) -> None:
        super().__init__(source)
        self._folder, self._shape = folder, shape

    def read(self, index: int, frames: int, rng: np.random.Generator) -> EncodedSample:
        """See `Source.read`.

        Raises:
            BrokenSample: it was broken when the cache was made.
            ValueError: the cache is damaged.
        """
        number, place = divmod(index, _SAMPLES_PER_SHARD)
        path = _shard(self._folder, number)
        with told_as_damage(_damaged(path), but=BrokenSample):
            file = read_index(path)
            entry = json.loads(file.metadata["samples"])[place]
            if "broken" in entry:
                raise BrokenSample(Path(entry["path"]), entry["broken"])
            video, mask, bits = (file.tensors[entry[part]].read() for part in ("video", "mask", "bits"))
            if not video.shape == mask.shape == self._shape or not video.dtype == mask.dtype == torch.float32:
                raise ValueError("no latents of this source")
            return EncodedSample(video, mask, _unpacked(bits, entry["shape"]), self.text(index))


def cache_texts(
    folder: Path, trainable: Trainable, texts: Iterable[str], share: Share | None = None, progress: Progress = SILENT
) -> TextCache:
    """Encode the sentences that `folder` does not hold yet; what an interrupted call wrote is kept.

    Args:
        folder: of the caches; each has its own folder there, named by what it was made from.
        trainable: with the text encoder.
        texts: the sentences, repeats allowed.
        share: of several processes that call this.
        progress: told "shards".

    Returns:
        the cache, to be read once every process has returned.
    """
    by_name = {value_hash(text): text for text in texts}
    encoder, tokenizer = trainable.backbone.text_encoder, trainable.backbone.tokenizer
    made_from = [VERSION, module_hash(encoder), tokenizer.backend_tokenizer.to_str(), sorted(by_name)]
    share = share or Share()
    place = share.agreed(folder / f"texts-{value_hash(made_from)[:16]}")
    shards = -(-len(by_name) // _TEXTS_PER_SHARD)
    members: list[list[str]] = [[] for _ in range(shards)]
    for name in by_name:
        members[_place(name, shards)].append(name)
    missing = [number for number in share.of(shards) if _said_of(_shard(place, number)) is None]
    if missing:
        progress.say("encoding texts")
    for number in counted(missing, "shards", progress):
        rows = {name: trainable.encode_text(by_name[name]) for name in members[number]}
        width = next((value.shape[1] for value in rows.values()), 0)
        _write(_shard(place, number), {name: _trimmed(value) for name, value in rows.items()}, {"width": str(width)})
    return TextCache(place, shards)


def cache_latents(
    folder: Path,
    trainable: Trainable,
    source: Joined[Sample],
    data: DataSettings,
    size: tuple[int, int],
    share: Share | None = None,
    progress: Progress = SILENT,
) -> ReadyToTrain:
    """Encode those parts of a source that are always the same, as far as `folder` does not hold them yet.

    A shard that is damaged, or of which a file has changed since, is made anew, the others are kept, as is what an
    interrupted call wrote.

    Args:
        folder: of the caches; each has its own folder there, named by what it was made from.
        trainable: with the VAE.
        source: of a stream.
        data: the stream's settings.
        size: (height, width) the model sees.
        share: of several processes that call this.
        progress: told "shards".

    Returns:
        the source with those parts in encoded form, to be read once every process has returned.

    Raises:
        BrokenSample: one was found, and the settings refuse them.
    """
    if not any(part.is_fixed(data.frames) for part in source.parts):
        return source
    vae = trainable.backbone.vae
    # Without what diffusers notes of itself, of which it keeps a list in no order: names differed with every start.
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    encoder = [VERSION, module_hash(vae, ENCODING_PARTS), config, size, data.frames]
    share = share or Share()
    parts: list[Source[Sample | EncodedSample]] = []
    for part, settings in zip(source.parts, data.sources, strict=True):
        if part.is_fixed(data.frames):
            made_from = [*encoder, _settings_of(settings)]
            place = share.agreed(folder / f"latents-{value_hash(made_from)[:16]}")
            _encode_samples(place, trainable, part, data, size, share, progress)
            shape = trainable.backbone.family.latent_shape(data.frames, *size)
            parts.append(CachedSource(part, place, shape))
        else:
            parts.append(part)
    return Joined(parts, source.weights)


def cache_all(
    folder: Path,
    trainable: Trainable,
    sources: Sequence[Joined[Sample]],
    streams: Sequence[DataSettings],
    size: tuple[int, int],
    share: Share | None = None,
    progress: Progress = SILENT,
) -> tuple[TextCache, list[ReadyToTrain]]:
    """All sentences of some streams, and of each what is always the same; see `cache_texts` and `cache_latents`."""
    sentences = (source.text(index) for source in sources for index in range(len(source)))
    texts = cache_texts(folder, trainable, sentences, share, progress)
    return texts, [
        cache_latents(folder, trainable, source, data, size, share, progress)
        for source, data in zip(sources, streams, strict=True)
    ]


def _encode_samples(
    folder: Path,
    trainable: Trainable,
    source: Source[Sample],
    data: DataSettings,
    size: tuple[int, int],
    share: Share,
    progress: Progress,
) -> None:
    on_broken = broken_policy(data.on_broken)
    stale = []
    for number in share.of(-(-len(source) // _SAMPLES_PER_SHARD)):
        path = _shard(folder, number)
        said = _said_of(path)
        if said is None or said.get("files") != _files_of(source, number):
            stale.append(number)
    if stale:
        progress.say(f"encoding {source.name}")
    for number in counted(stale, "shards", progress):
        files = _files_of(source, number)  # before they are read: what changes meanwhile is found the next time
        tensors: dict[str, Tensor] = {}
        entries: list[dict[str, Any]] = []  # as JSON holds them
        for index in _members(source, number):
            try:
                # what is fixed draws nothing
                frames, masks = model_clip(source.read(index, data.frames, np.random.default_rng(0)), size)
            except BrokenSample as error:
                on_broken(error)
                entries.append({"broken": error.what, "path": str(error.path)})
                continue
            hashed = tensor_hash(masks)
            video, mask, bits = f"video.{tensor_hash(frames)}", f"mask.{hashed}", f"bits.{hashed}"
            # several sentences may speak of one clip, or mean one mask
            if video not in tensors:
                tensors[video] = _stored(trainable.encode_video(frames))
            if mask not in tensors:
                tensors[mask] = _stored(trainable.encode_masks(masks))
                tensors[bits] = torch.from_numpy(np.packbits(masks.numpy()))
            entries.append({"video": video, "mask": mask, "bits": bits, "shape": list(masks.shape)})
        _write(_shard(folder, number), tensors, {"files": files, "samples": json.dumps(entries)})


def _settings_of(source: SourceSettings) -> dict[str, Any]:
    """What of a source's settings its samples depend on; what came to be a setting later only where it is set, so that
    older caches are still found."""
    later = {name for name in ("shots", "clips", "augment") if name not in source.model_dump(exclude_defaults=True)}
    return source.model_dump(mode="json", exclude={"weight", "keep_frames", *later})


def _files_of(source: Source[Sample], number: int) -> str:
    indices = _members(source, number)
    return files_hash(path for index in indices for path in source.files(index))


def _members(source: Source[Sample], number: int) -> range:
    start = number * _SAMPLES_PER_SHARD
    return range(start, min(start + _SAMPLES_PER_SHARD, len(source)))


def _place(name: str, shards: int) -> int:
    """The shard that holds a text, by its hash."""
    return int(name[:8], 16) % shards


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _said_of(path: Path) -> dict[str, str] | None:
    """What a shard says of itself; None where it is to be made: it is not there, or is damaged."""
    try:
        return read_index(path).metadata if path.is_file() else None
    except ValueError:
        return None


def _damaged(path: Path) -> str:
    return f"{path} is damaged: remove it, and it is made anew."


def _stored(latents: Tensor) -> Tensor:
    return latents[0].float().cpu().contiguous()


def _unpacked(bits: Tensor, shape: Sequence[int]) -> Tensor:
    """uint8 of 0 and 1 from a bit each."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=math.prod(shape))).view(*shape)


def _trimmed(rows: Tensor) -> Tensor:
    """Rows [77,D] without the zeros behind them, in bfloat16 where that is exact; `fit_text_rows` brings them back."""
    filled = rows != 0
    height = int(filled.any(1).nonzero().max()) + 1
    width = int(filled.any(0).nonzero().max()) + 1
    rows = rows[:height, :width].contiguous()
    half = rows.bfloat16()
    return half if half.float().equal(rows) else rows


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with told_when_full(path, "make room, and run the same command again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata)
