"""A layer of a run that was corrected, learnt by the model that made it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rem_engine import Segmenter, load_segmenter
from rem_engine.checkpoints.convert import check_replaceable
from rem_engine.metrics import region_similarity
from rem_engine.progress import SILENT, Progress
from rem_engine.run.corrections import corrections_of
from rem_engine.run.stored_masks import StoredMasks, best_masks
from rem_engine.run.whole_run import WholeRun, open_run
from rem_engine.segment.settings import SegmentSettings
from rem_engine.setting import settings_of
from rem_engine.whole_files import told_when_full

from ..adapt.plan import LORA_TARGETS
from ..export import trained_changes, write_lora
from ..settings import LoraSettings
from .clips import clips_of
from .tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from rem_engine.backbones.base import Backbone

# Of the trials with REM-mini in docs/corrections.md.
RANK, STEPS, LEARNING_RATE = 16, 20, 3e-3
MOST_KEPT = 8
"""Other layers whose masks are held while one is learnt."""


@dataclass(frozen=True)
class Learning:
    """What to learn; see `python -m trainer learn --help`.

    Attributes:
        run: folder of a run of segment with corrections.
        layer: which of its layers; "" for the only one.
        out: the .safetensors file to write; None for `<layer>/<layer>_lora.safetensors` in the run's folder.
        shot: where the run's shot lies now; None for where it lay.
        steps, lr: of the tuning.
        device: where the model runs.
        overwrite: replace `out` even where no export has written it.
    """

    run: Path
    layer: str = ""
    out: Path | None = None
    shot: Path | None = None
    steps: int = STEPS
    lr: float = LEARNING_RATE
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class Learnt:
    """What was learnt.

    Attributes:
        layer, text: the layer, and its sentence.
        out: the file.
        shot, model, checkpoint: the run's.
        before, after: J of the model's masks against the corrected ones, in a window of the shot.
        kept: of other layers, J of their masks after against before, in that window.
    """

    layer: str
    text: str
    out: Path
    shot: Path
    model: str
    checkpoint: tuple[str, ...]
    before: float
    after: float
    kept: dict[str, float]


def learn(asked: Learning, progress: Progress = SILENT) -> Learnt:
    """Tune a LoRA of the model that made a run on the corrected masks of one of its layers, and write it.

    The model's own weights are not changed, nor is anything of the run. Its other layers are held while one is learnt.

    Args:
        asked: what, and how.
        progress: told "steps".

    Raises:
        FileNotFoundError: no run, shot or model.
        ValueError: a layer without corrections, a model that cannot be tuned, or a file called `out` that no export has
            written.
        RuntimeError: the disk is full, or the error became no finite number.
        KeyboardInterrupt: with a sentence.
    """
    run = open_run(asked.run, asked.shot)
    with closing(run.shot), _told_when_stopped():
        layer = run.layer_named(asked.layer)
        takes = _corrected_takes(run, layer)
        model, checkpoint = _model_of(run)
        out = asked.out or asked.run / layer / f"{layer}_lora.safetensors"
        if not asked.overwrite:
            check_replaceable(out)
        segmenter = _segmenter(run, model, checkpoint, asked.device)
        texts = {one.name: one.text for one in run.job.written_layers}
        others = [name for name in texts if name != layer][:MOST_KEPT]
        rows = segmenter.encode_prompts([texts[name] for name in (layer, *others)])
        files = best_masks(run.record.files, layer)
        assert files is not None  # corrections have masks on disk
        with closing(StoredMasks(files, run.out)) as masks:
            clips = clips_of(run.shot, masks.read, takes, run.cuts, segmenter.plan)
        lora = suiting(segmenter.backbone)
        tuning, shown, threshold = Tuning(segmenter.backbone, lora), clips[len(clips) // 2], run.job.masks.threshold
        before = [tuning.masks(shown, row) > threshold for row in rows]
        tuning.tune(clips, rows[0], rows[1:], asked.steps, asked.lr, progress)
        after = [tuning.masks(shown, row) > threshold for row in rows]
        with told_when_full(out, "make room; nothing was written"):
            write_lora(out, trained_changes(tuning.weights, lora), model, checkpoint)
    wanted = shown.masks > threshold
    kept = {name: _overlap(one, other) for name, one, other in zip(others, after[1:], before[1:], strict=True)}
    return Learnt(
        layer,
        texts[layer],
        out,
        asked.shot or Path(str(run.record.run["shot"]["path"])),
        model,
        checkpoint,
        _overlap(before[0], wanted),
        _overlap(after[0], wanted),
        kept,
    )


def suiting(backbone: Backbone) -> LoraSettings:
    """The LoRA that is tuned: of the attention and feed-forward layers of a backbone's denoiser."""
    return LoraSettings(rank=RANK, alpha=RANK, targets=tuple(LORA_TARGETS[backbone.family.key]))


def _corrected_takes(run: WholeRun, layer: str) -> list[range]:
    given = corrections_of(run.out, run.record.run, layer, run.numbering).files
    if not given:
        raise ValueError(
            f"{layer} has no corrections in {run.out}: give the right masks of one to four frames first, by "
            f"rem-segment correct {run.out} --layer {layer} --keys MASKS."
        )
    if len(run.job.written_layers) < len(run.job.layers):
        raise ValueError(
            f"The masks of {run.out} are those of {len(run.job.layers)} sentences together, and one is learnt by "
            "itself: segment the shot with that one alone."
        )
    edges = (0, *run.cuts, run.shot.frame_count)
    takes = (range(start, stop) for start, stop in zip(edges, edges[1:]))
    return [take for take in takes if any(place in take for place in given)]


def _model_of(run: WholeRun) -> tuple[str, tuple[str, ...]]:
    """The model folder of a run and the weights that were laid over it."""
    told = run.record.run["settings"]
    model, checkpoint, strength = told["model"], told["checkpoint"], told.get("strength", 1.0)
    strengths = strength if isinstance(strength, list) else [strength]
    if any(one != 1.0 for one in strengths):
        raise ValueError(
            f"{run.out} was made with a delta or LoRA at a strength of {', '.join(map(str, strengths))}, over which "
            "nothing is learnt: segment the shot at full strength."
        )
    paths = [checkpoint] if isinstance(checkpoint, str) else checkpoint or []
    return str(model), tuple(paths)


def _segmenter(run: WholeRun, model: str, checkpoint: tuple[str, ...], device: str) -> Segmenter:
    told = run.record.run["settings"]
    settings: dict[str, Any] = {name: told[name] for name in settings_of(SegmentSettings) if name in told}
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return load_segmenter(
        model, checkpoint=checkpoint or None, device=device, dtype=told.get("dtype", "auto"), **settings
    )


def _overlap(one: Tensor, other: Tensor) -> float:
    return float(region_similarity(one.numpy(), other.numpy()).mean())


@contextmanager
def _told_when_stopped() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted. Nothing was written; the same command begins anew.") from None
