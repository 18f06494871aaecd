"""Opening the datasets that settings name."""

from __future__ import annotations

from ..settings import DataSettings, SourceSettings
from .broken import OnBroken, broken_policy
from .folder import Folder
from .join import Joined, Resized, Subset
from .mevis import Mevis
from .pseudo_video import PseudoVideo
from .ref_davis17 import RefDavis17
from .ref_ytvos import RefYtvos
from .refcoco import RefCoco
from .sample import Dataset, Sample, Source
from .synth import Synth


def open_sources(data: DataSettings, size: tuple[int, int] | None = None) -> Joined[Sample]:
    """The datasets of a stream, joined.

    Args:
        data: its settings; `on_broken` also says what is done about entries that cannot be read now.
        size: (height, width) that samples are resized to where they are read; None leaves them as they are.

    Raises:
        FileNotFoundError: a dataset is not where the settings say.
        ValueError: it holds no sample, or a setting does not go with its kind.
    """
    on_broken = broken_policy(data.on_broken)
    parts = []
    for settings in data.sources:
        source: Source[Sample] = open_source(settings, on_broken)
        if len(source) == 0:
            raise ValueError(f"{source.name} at {settings.root} holds no sentence that can be trained on.")
        if settings.max_samples is not None:
            source = Subset(source, settings.max_samples)
        if settings.pseudo_video:
            source = PseudoVideo(source)
        parts.append(source if size is None else Resized(source, size))
    return Joined(parts, [settings.weight for settings in data.sources])


def open_source(settings: SourceSettings, on_broken: OnBroken) -> Dataset:
    """A dataset as it lies on disk, which may hold nothing; raises as `open_sources` does."""
    kind, root, split = settings.kind, settings.root, settings.split
    if not root.is_dir():
        raise FileNotFoundError(
            f"The dataset {kind} is not at {root}: that folder does not exist; set the source's root."
        )
    if settings.name is not None and kind != "refcoco":
        raise ValueError(f"A source of kind {kind} has no name; leave {settings.name!r} out of the settings.")
    if split != "train" and kind in ("folder", "synth"):
        raise ValueError(f"A source of kind {kind} has no splits; leave {split!r} out of the settings.")
    source: Dataset
    if kind == "refcoco":
        source = RefCoco(root, settings.name or "", split, on_broken)
    elif kind == "ref_ytvos":
        source = RefYtvos(root, split, on_broken)
    elif kind == "mevis":
        source = Mevis(root, split, on_broken)
    elif kind == "ref_davis17":
        source = RefDavis17(root, split, on_broken)
    elif kind == "folder":
        source = Folder(root, on_broken)
    else:
        source = Synth(root, on_broken)
    return source
