"""What an ablation runs: variants, seeds and learning rates, budgets of processor time, and the shots of it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.progress import SILENT, Progress

from ..settings import DataSettings, SourceSettings, load_settings
from .variants import VARIANTS

if TYPE_CHECKING:
    from ..model.trainable import Trainable
    from ..settings import TrainSettings

DATA_SEEDS = {"train": 1, "tuning": 102, "seen": 100, "unseen": 101}
"""Of the rendered shots of each split. Rates and thresholds are chosen on "tuning", what is reported is scored on
"seen" and "unseen", and nothing of the three is trained on."""
SCORED = ("seen", "unseen")
SHOTS = {"train": 600, "tuning": 64, "seen": 200, "unseen": 60}


@dataclass(frozen=True)
class Ablation:
    """What to run.

    Attributes:
        out: folder of everything: `data`, `cache`, `sweep`, and a folder of runs for each variant.
        variants: names of `VARIANTS`.
        preset: the settings of all runs are those of the preset `ablation_<preset>`.
        seeds: how many; 1, 2, ... Runs of one seed see the same batches.
        first, seconds: processor seconds of training after which a run is scored first, and that it is trained for at
            most.
        rates: learning rates, of which each variant gets the best.
        sweep_seconds: processor seconds for trying each of them.
        jobs: runs side by side.
        model, checkpoint: what is trained from; see `trainer.run.train.TrainingRun`.
        shots: rendered of each split of `DATA_SEEDS`.

    Raises:
        ValueError: no such variant.
    """

    out: Path
    variants: tuple[str, ...] = tuple(VARIANTS)
    preset: str = "mini"
    seeds: int = 5
    first: float = 80.0
    seconds: float = 640.0
    rates: tuple[float, ...] = (7e-4, 2e-3, 6e-3)
    sweep_seconds: float = 30.0
    jobs: int = 1
    model: str = "mini"
    checkpoint: Path | None = MINI_FOLDER / "t2v" / "rem_mini_t2v.safetensors"
    shots: Mapping[str, int] = field(default_factory=lambda: dict(SHOTS))

    def __post_init__(self) -> None:
        for variant in self.variants:
            if variant not in VARIANTS:
                raise ValueError(f"There is no variant {variant!r}; choose from {', '.join(VARIANTS)}.")

    @property
    def cache(self) -> Path:
        """Folder of what all runs have encoded."""
        return self.out / "cache"

    @property
    def marks(self) -> tuple[float, ...]:
        """Processor seconds of training after which runs are scored: `first` and its doublings, up to `seconds`."""
        marks = [self.first]
        while marks[-1] * 2 <= self.seconds:
            marks.append(marks[-1] * 2)
        return tuple(marks)

    def settings(self, variant: str, seed: int, rate: float | None = None, steps: int | None = None) -> TrainSettings:
        """Of a run; None leaves what the preset says.

        Raises:
            FileNotFoundError: no such preset.
        """
        overrides: dict[str, Any] = {"data_root": str((self.out / "data").resolve()), "seed": seed}
        overrides |= {} if rate is None else {"optim.lr": rate}
        overrides |= {} if steps is None else {"steps": steps}
        return load_settings(f"ablation_{self.preset}", {**overrides, **VARIANTS[variant].overrides})

    def split(self, name: str) -> DataSettings:
        """What samples of a split are read by; of "train" those that runs draw."""
        stream = self.settings(self.variants[0], 1).streams[0]
        source = SourceSettings(kind="synth", root=(self.out / "data" / name).resolve())
        return stream.model_copy(update={"sources": (source,)})


def prepare(ablation: Ablation, progress: Progress = SILENT) -> None:
    """Render and encode what all runs share, as far as it does not stand, so that no two of them do it at once.

    Args:
        ablation: whose data are made.
        progress: told "shards" of the caches.

    Raises:
        ValueError: another number of shots stands there.
    """
    for name in DATA_SEEDS:
        _render(ablation, name)
    _encode(ablation, progress)


def _encode(ablation: Ablation, progress: Progress) -> None:
    import torch

    from ..data.cache import cache_all
    from ..data.open import open_sources
    from ..model.trainable import load_trainable

    settings = ablation.settings(ablation.variants[0], 1)
    trainable: Trainable = load_trainable(ablation.model, ablation.checkpoint, settings, torch.device("cpu"))
    for name in DATA_SEEDS:
        data = ablation.split(name)
        cache_all(ablation.cache, trainable, [open_sources(data, settings.size)], [data], settings.size, None, progress)


def _render(ablation: Ablation, name: str) -> None:
    from ..data.files import field as read_field
    from ..mini.pool import mixed_plates
    from ..synth.write import Split, write_split

    count = ablation.shots[name]
    folder = Split(ablation.out / "data" / name)
    if folder.details.is_file():
        found = len(read_field(folder.details, folder.read_details(), "videos", dict, "the file"))
        if found != count:
            raise ValueError(f"{folder.root} holds {found} shots and {count} are wanted; name another --out.")
        return
    settings = ablation.settings(ablation.variants[0], 1)
    height, width = settings.size
    write_split(
        folder.root,
        count,
        DATA_SEEDS[name],
        mixed_plates(None, 0.0),
        frames=settings.streams[0].frames,
        height=height,
        width=width,
        unseen=name == "unseen",
    )
