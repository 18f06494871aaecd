"""Reading a dataset from end to end, to find what is broken before training does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rem_engine.progress import SILENT, Progress, counted

from ..settings import SourceSettings
from .open import open_source
from .sample import BrokenSample
from .statistics import Statistics


@dataclass(frozen=True)
class Report:
    """What a dataset holds.

    Attributes:
        name: of the dataset.
        sentences: samples that were found.
        unusable: samples among them that cannot be read.
        broken: every fault, once; also of entries that are no samples for it.
        use: what its samples are for: to "train on", or to "be evaluated on".
        statistics: of those that can be used.
    """

    name: str
    sentences: int
    unusable: int
    broken: tuple[Exception, ...]
    use: str = "train on"
    statistics: Statistics = field(default_factory=Statistics)


def check_dataset(
    settings: SourceSettings, progress: Progress = SILENT, tokens: Callable[[str], int] | None = None
) -> Report:
    """Read every frame and mask of every sentence, one picture at a time.

    Args:
        settings: the dataset.
        tokens: see `Statistics`.
        progress: told "sentences".

    Raises:
        FileNotFoundError: the dataset is not where the settings say.
        ValueError: it cannot be opened at all.
    """
    faults: dict[str, BrokenSample] = {}

    def note(broken: BrokenSample) -> None:
        faults.setdefault(str(broken), broken)

    dataset = open_source(settings, note)
    unusable, statistics = 0, Statistics(tokens)
    for index in counted(range(len(dataset)), "sentences", progress):
        try:
            statistics.add(dataset.check(index), dataset.text(index))
        except BrokenSample as broken:
            unusable += 1
            note(broken)
    return Report(dataset.name, len(dataset), unusable, tuple(faults.values()), statistics=statistics)
