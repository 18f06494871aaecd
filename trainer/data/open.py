"""Opening the datasets that settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from ..settings import DataSettings, SourceSettings
from .augment import Varied
from .broken import OnBroken, broken_policy
from .folder import Folder
from .frame_cache import FrameCache
from .join import Joined, Resized, Subset
from .kinds import DatasetKind
from .mevis import Mevis
from .pseudo_video import PseudoVideo
from .ref_davis17 import RefDavis17
from .ref_ytvos import RefYtvos
from .refcoco import RefCoco
from .sample import Dataset, Sample, Source
from .synth import Synth
from .video import VideoSource


@dataclass(frozen=True)
class Kind:
    """A layout of datasets.

    Attributes:
        open: the dataset that settings of this kind name.
        has_names: several datasets have this layout, and `name` says which.
        has_splits: `split` says which part of the dataset.
    """

    open: Callable[[SourceSettings, OnBroken], Dataset]
    has_names: bool = False
    has_splits: bool = True


KINDS: dict[DatasetKind, Kind] = {
    "refcoco": Kind(lambda of, broken: RefCoco(of.root, of.name or "", of.split, broken), has_names=True),
    "ref_ytvos": Kind(lambda of, broken: RefYtvos(of.root, of.split, broken)),
    "mevis": Kind(lambda of, broken: Mevis(of.root, of.split, broken)),
    "ref_davis17": Kind(lambda of, broken: RefDavis17(of.root, of.split, broken)),
    "folder": Kind(lambda of, broken: Folder(of.root, broken, of.shots), has_splits=False),
    "synth": Kind(lambda of, broken: Synth(of.root, broken), has_splits=False),
}


def open_datasets(data: DataSettings) -> list[Dataset]:
    """The datasets of a stream as they lie on disk, one for each of its sources; raises as `open_sources` does."""
    on_broken = broken_policy(data.on_broken)
    datasets = []
    for settings in data.sources:
        dataset = open_source(settings, on_broken)
        if len(dataset) == 0:
            raise ValueError(f"{dataset.name} at {settings.root} holds no sentence that can be trained on.")
        datasets.append(dataset)
    return datasets


def open_sources(
    data: DataSettings,
    size: tuple[int, int] | None = None,
    kept: Path | None = None,
    datasets: Sequence[Dataset] | None = None,
) -> Joined[Sample]:
    """The datasets of a stream, joined.

    Args:
        data: its settings; `on_broken` also says what is done about entries that cannot be read now.
        size: (height, width) that samples are resized to where they are read; None leaves them as they are.
        kept: folder of frames at that size, for sources that keep them; None keeps none.
        datasets: from `open_datasets`, which stay as they are; None opens them.

    Raises:
        FileNotFoundError: a dataset is not where the settings say.
        ValueError: it holds no sample, or a setting does not go with its kind.
    """
    parts = []
    for settings, dataset in zip(data.sources, open_datasets(data) if datasets is None else datasets):
        source: Source[Sample] = dataset
        if size is not None and kept is not None and _keeps_frames(dataset, settings, data.frames):
            keeping = copy(dataset)
            keeping.kept = FrameCache(kept, size)
            source = keeping
        if settings.max_samples is not None:
            source = Subset(source, settings.max_samples)
        if settings.pseudo_video:
            source = PseudoVideo(source)
        if settings.augment is not None:
            source = Varied(source, settings.augment)
        parts.append(source if size is None else Resized(source, size))
    return Joined(parts, [settings.weight for settings in data.sources])


def _keeps_frames(source: Source[Sample], settings: SourceSettings, frames: int) -> TypeGuard[VideoSource]:
    """Whether a source's frames are to be kept at the model's size: not where clips are always the same, whose latents
    are, nor where parts of a picture are shown at that size."""
    if not isinstance(source, VideoSource) or source.is_fixed(frames) or settings.augment is not None:
        return False
    return settings.kind == "folder" if settings.keep_frames is None else settings.keep_frames


def open_source(settings: SourceSettings, on_broken: OnBroken) -> Dataset:
    """A dataset as it lies on disk, which may hold nothing; raises as `open_sources` does."""
    name, root, kind = settings.kind, settings.root, KINDS[settings.kind]
    if not root.is_dir():
        raise FileNotFoundError(
            f"The dataset {name} is not at {root}: that folder does not exist; set the source's root."
        )
    if settings.name is not None and not kind.has_names:
        raise ValueError(f"A source of kind {name} has no name; leave {settings.name!r} out of the settings.")
    if settings.split != "train" and not kind.has_splits:
        raise ValueError(f"A source of kind {name} has no splits; leave {settings.split!r} out of the settings.")
    if settings.shots is not None and name != "folder":
        raise ValueError(f"A source of kind {name} has no shots by name; leave the setting shots out.")
    dataset = kind.open(settings, on_broken)
    if isinstance(dataset, VideoSource):
        dataset.clips = settings.clips
    elif settings.clips != ("scattered",):
        raise ValueError(f"A source of kind {name} holds still images; leave the setting clips out.")
    return dataset
