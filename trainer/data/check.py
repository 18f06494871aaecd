"""Reading a dataset from end to end, to find what is broken before training does."""

from __future__ import annotations

from dataclasses import dataclass

from rem_engine.progress import SILENT, Progress, counted

from ..settings import SourceSettings
from .open import open_source
from .sample import BrokenSample


@dataclass(frozen=True)
class Report:
    """What a dataset holds.

    Attributes:
        name: of the dataset.
        sentences: samples that were found.
        unusable: samples among them that cannot be read.
        broken: every fault, once; also of entries that are no samples for it.
        use: what its samples are for: to "train on", or to "be evaluated on".
    """

    name: str
    sentences: int
    unusable: int
    broken: tuple[Exception, ...]
    use: str = "train on"


def check_dataset(settings: SourceSettings, progress: Progress = SILENT) -> Report:
    """Read every frame and mask of every sentence, one picture at a time.

    Args:
        settings: the dataset.
        progress: told "sentences".

    Raises:
        FileNotFoundError: the dataset is not where the settings say.
        ValueError: it cannot be opened at all.
    """
    faults: dict[str, BrokenSample] = {}

    def note(broken: BrokenSample) -> None:
        faults.setdefault(str(broken), broken)

    dataset = open_source(settings, note)
    unusable = 0
    for index in counted(range(len(dataset)), "sentences", progress):
        try:
            dataset.check(index)
        except BrokenSample as broken:
            unusable += 1
            note(broken)
    return Report(dataset.name, len(dataset), unusable, tuple(faults.values()))
