"""A mask decoder learns to draw what the VAE's decoder draws of mask latents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from rem_engine.backbones.base import WAN
from rem_engine.backbones.checkpoint import Paths, checkpoint_entry
from rem_engine.backbones.mask_decoder import WIDTH, MaskDecoder, decoder_hash, load_mask_decoder, save_mask_decoder
from rem_engine.folder_lock import locked
from rem_engine.metrics import region_similarity
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import written_whole

from ..data.open import open_sources
from ..model.trainable import load_trainable
from ..run.loop import LoopSettings, TrainingLoop, TrainingTask
from ..run.records import read_record
from ..settings import Cosine, OptimSettings, TrainSettings
from .examples import PER_SAMPLE, Examples, make_examples

OPTIM = OptimSettings(
    optimizer="muon",
    lr=0.02,
    vector_lr=1e-3,
    betas=(0.9, 0.99),
    schedule=Cosine(kind="cosine", warmup=50, floor=0.02),
    clip_norm=1.0,
)
TUNING = OPTIM.model_copy(update={"lr": 0.005, "vector_lr": 2.5e-4})
"""Of a decoder that draws masks already, which the rates above would undo first."""
EMA = 0.995
SAVE_EVERY = 250
HELD_OUT = 16
"""One sample of so many is not learnt from, and says how far the decoder has come."""
BEYOND = 0.1
"""Weight of errors below 0 and above 1, which no mask shows, so that gradients do not end there."""


@dataclass(frozen=True)
class Distillation:
    """What to distil, and where; see `python -m trainer distill-decoder --help`.

    Attributes:
        settings: of the training whose data these are: size, streams, seed.
        model: "mini" or a model folder.
        work: folder of examples and checkpoints; what stands there is gone on from.
        out: the .safetensors file to write.
        checkpoint: REM weights laid over the model's; see `rem_engine.load_segmenter`.
        samples: of the data that are looked at; two examples come of each.
        steps, batch: of training, in examples.
        width: see `MaskDecoder`.
        start: a mask decoder to begin with, such as that of the VAE before it was tuned; None begins from nothing.
    """

    settings: TrainSettings
    model: str
    work: Path
    out: Path
    checkpoint: Paths = None
    samples: int = 600
    steps: int = 1500
    batch: int = 8
    width: int = WIDTH
    start: Path | None = None


@dataclass(frozen=True)
class _Begun:
    """What a working folder was begun with."""

    model: str
    checkpoint: str | list[str] | None
    distilled_from: str
    samples: int
    steps: int
    batch: int
    width: int
    start: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def distill(what: Distillation, progress: Progress = SILENT) -> dict[str, float]:
    """Distil a mask decoder and write it.

    Args:
        what: see there.
        progress: told "clips", one a sample, while examples are made; training has a log of its own.

    Returns:
        over the samples held out: soft_error, the mean of |mask - the VAE's| in 0..1; J of the one against the other,
        both at 0.5; and largest_soft_error.

    Raises:
        FileNotFoundError: no such model, checkpoint or data.
        ValueError: another backbone than Wan, a working folder that was begun with something else, or a start that is
            no mask decoder of this width.
        RuntimeError: another process works there; and see `TrainingLoop.run`.
        KeyboardInterrupt: see `TrainingLoop.run`.
    """
    from accelerate import Accelerator

    if what.settings.family is not WAN:
        raise ValueError("A mask decoder is distilled for Wan alone; name a preset of that.")
    with locked(what.work, "name another --work"):
        decoder = _new_decoder(what)
        accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")
        sources = [open_sources(data, what.settings.size) for data in what.settings.streams]
        trainable = load_trainable(what.model, what.checkpoint, what.settings, accelerator.device)
        teacher = decoder_hash(trainable.backbone.vae)
        _claim(what, teacher)
        examples = make_examples(what.work / "examples", trainable, sources, what.settings, what.samples, progress)
        task = _task(decoder, examples, what, accelerator.device)
        loop_settings = LoopSettings(
            what.steps,
            OPTIM if what.start is None else TUNING,
            EMA,
            SAVE_EVERY,
            keep_last=1,
            how_to_resume="give the same command to go on",
        )
        loop = TrainingLoop(accelerator, decoder, loop_settings, what.work, "mask decoder")
        loop.run(task)
        if loop.average is not None:
            loop.average.copy_to(decoder)
        save_mask_decoder(what.out, decoder, teacher, f"mask decoder of {trainable.backbone.name}")
        return _against_teacher(decoder.half().float(), examples, accelerator.device)


def _new_decoder(what: Distillation) -> MaskDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(what.settings.seed)
        decoder = MaskDecoder(what.width)
    if what.start is not None:
        begun = load_mask_decoder(what.start, None, torch.device("cpu"))
        if begun.width != what.width:
            raise ValueError(f"The mask decoder {what.start} has a width of {begun.width}: give --width {begun.width}.")
        decoder.load_state_dict(begun.state_dict())
    return decoder


def _task(decoder: MaskDecoder, examples: Examples, what: Distillation, device: torch.device) -> TrainingTask:
    learnt = np.flatnonzero(~_held_out(len(examples.latents)))

    def loss(step: int, _: Any) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((what.settings.seed, step))
        latents, masks = (each.to(device) for each in examples.batch(rng.choice(learnt, what.batch)))
        drawn = decoder(latents)
        error = drawn.clamp(0, 1) - masks.clamp(0, 1)
        # of the square alone edges would stay soft, of the absolute error alone all black is where they begin
        seen = error.abs().add(2 * error.square()).mean()
        return seen + BEYOND * (drawn - masks).abs().mean(), {"soft_error": error.detach().abs().mean().item()}

    @torch.no_grad()
    def samples(step: int, _: Any) -> tuple[str, Tensor]:
        latents, masks = (each.to(device) for each in examples.batch(range(PER_SAMPLE)))
        rows = torch.stack([decoder(latents)[:, -1], masks[:, -1]]).clamp(0, 1)
        return "mask decoder, VAE", rearrange(rows, "r b h w -> 1 (r h) (b w)").expand(3, -1, -1)

    return TrainingTask(lambda left: (((step,), {}) for step in left), loss, samples)


def _held_out(count: int) -> np.ndarray:
    """bool [N]: the examples that are not learnt from; a sample's go together."""
    return (np.arange(count) // PER_SAMPLE) % HELD_OUT == HELD_OUT - 1


@torch.no_grad()
def _against_teacher(decoder: MaskDecoder, examples: Examples, device: torch.device) -> dict[str, float]:
    errors, largest, scores = [], 0.0, []
    for index in np.flatnonzero(_held_out(len(examples.latents))):
        latents, masks = examples.batch([int(index)])
        drawn = decoder(latents.to(device)).cpu().clamp(0, 1).numpy()[0]
        of_vae = masks.clamp(0, 1).numpy()[0]
        error = np.abs(drawn - of_vae)
        errors.append(float(error.mean()))
        largest = max(largest, float(error.max()))
        scores.append(float(region_similarity(drawn > 0.5, of_vae > 0.5).mean()))
    if not errors:
        return {}
    return {"soft_error": float(np.mean(errors)), "J": float(np.mean(scores)), "largest_soft_error": largest}


def _claim(what: Distillation, teacher: str) -> None:
    """Make the working folder of a distillation, or make sure that the one in it is the one asked for."""
    data = what.settings.model_dump(mode="json", include={"size", "streams", "seed"})
    start = None if what.start is None else str(what.start)
    now = _Begun(
        what.model,
        checkpoint_entry(what.checkpoint),
        teacher,
        what.samples,
        what.steps,
        what.batch,
        what.width,
        start,
        data,
    )
    path = what.work / "distillation.json"
    if path.exists():
        begun = read_record(path, _Begun, f"remove {what.work} to begin anew")
        for name, value in asdict(now).items():
            if asdict(begun)[name] != value:
                raise ValueError(
                    f"{what.work} was begun with other settings ({name.replace('_', ' ')}); go on with the same, name "
                    "another --work, or remove it to begin anew."
                )
        return
    what.work.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(asdict(now), indent=2) + "\n", encoding="utf-8")
