"""REM-mini from nothing: every stage in order, each resuming where a killed run stopped."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rem_engine.folder_lock import locked
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import written_whole

from ..run.records import read_record
from ..settings import load_settings
from ..synth.backgrounds import RealClips
from ..synth.worlds import PLAIN, WORLDS
from .denoiser import RECIPE, Texts, fine_tune, new_transformer, pretrain
from .export import check_is_ours, export_mini
from .latents import encode_pool
from .pool import build_pool, mixed_plates
from .settings import MiniSettings
from .stage import STAGES, stage_seconds
from .start import Start, add_fine_tuning, begin_texts, open_start
from .text import new_text_encoder, train_tokenizer
from .vae import mask_carry, round_to_half, standardise, train_vae


def train_mini(
    work: Path,
    output: Path,
    settings: MiniSettings,
    clips: Path | None = None,
    compile_model: bool = True,
    progress: Progress = SILENT,
    start: Path | None = None,
) -> None:
    """Train REM-mini and write its model folder.

    Args:
        work: working folder; what stands there is gone on from.
        output: the model folder to write.
        settings: sizes and budgets; between runs in one working folder only `rem_steps`, the last stage's, may change.
        clips: folder of real clips for backgrounds; without it all backgrounds are procedural.
        compile_model: whether to compile training steps, which takes minutes, halves each step of the VAE and saves an
            eighth of those of the denoiser.
        progress: told "shots" rendered and "clips" encoded.
        start: folder of a REM-mini to begin with, of other words or another frame size: its VAE's encoder is kept, and
            decoder, text-to-video weights and text encoder learn on; REM begins with the new text-to-video weights and
            what fine-tuning had changed in the old. None trains all from nothing.

    Raises:
        FileNotFoundError: there is no start.
        ValueError: the working folder belongs to a training with other settings, there are files in the way that no
            training has written, or a start that is the model to write or of another size.
        RuntimeError: another process trains there, or writes to `output`.
    """
    if work.resolve() == output.resolve():
        raise ValueError(f"{work} cannot be the working folder and the model folder at once: name another --out.")
    if start is not None and start.resolve() == output.resolve():
        raise ValueError(f"{start} cannot be begun with and replaced at once: name another --out.")
    begun_with = None if start is None else open_start(start, settings)
    with locked(work, "name another --work"), locked(output, "name another --out"):
        check_is_ours(output)
        _same_settings(work, settings, start)
        _train(work, output, settings, clips, compile_model, progress, begun_with)


def _train(
    work: Path,
    output: Path,
    settings: MiniSettings,
    clips: Path | None,
    compile_model: bool,
    progress: Progress,
    start: Start | None,
) -> None:
    from transformers import T5TokenizerFast

    real = None if clips is None else RealClips(clips)
    plates = mixed_plates(real, settings.real_backgrounds)
    world, size = WORLDS[settings.world], (settings.frames, settings.size)
    pool = build_pool(work / "pool", world, settings.clips, *size, settings.seed, plates, progress)
    heldout = build_pool(work / "heldout", world, settings.heldout_clips, *size, settings.seed + 1000, plates, progress)

    vae = train_vae(pool, settings, work, compile_model, None if start is None else start.vae)
    if start is None:
        standardise(vae, pool, min(400, len(pool)))
    round_to_half(vae)
    vae.requires_grad_(False)
    print(f"masks through the VAE: J {mask_carry(vae, heldout):.3f}")
    latents = encode_pool(pool, vae, work / "latents", progress)

    if not (work / "tokenizer" / "tokenizer.json").exists():
        train_tokenizer(work / "tokenizer", settings)
    tokenizer = T5TokenizerFast.from_pretrained(work / "tokenizer")
    texts = Texts(new_text_encoder(settings, len(tokenizer)), tokenizer)
    transformer = new_transformer(settings)
    if start is not None:
        begin_texts(texts.encoder, tokenizer, start)
        transformer.load_state_dict(start.t2v)
    pretrain(pool, latents, transformer, texts, vae, settings, work, compile_model)
    round_to_half(texts)
    t2v_state = copy.deepcopy(transformer.state_dict())
    if start is not None:
        add_fine_tuning(transformer, start, load_settings(RECIPE).frozen)
    fine_tune(pool, latents, transformer, texts, vae, settings, work, compile_model)
    export_mini(output, settings, vae, texts.encoder, transformer, t2v_state, work / "tokenizer")
    print(f"written to {output}; " + ", ".join(f"{k} {v / 60:.0f} min" for k, v in stage_seconds(work).items()))


_BEFORE = {"world": PLAIN, "precision": "float32", "start": None}
"""What held for a folder that does not name it, since it was begun before there was a choice."""
_KEPT = ("pool", "heldout", "latents", "tokenizer", STAGES)


def _same_settings(work: Path, settings: MiniSettings, start: Path | None) -> None:
    path = work / "settings.json"
    if not path.exists() and (there := next((work / name for name in _KEPT if (work / name).exists()), None)):
        raise ValueError(f"{there} is of no training: move it away, or name another --work.")
    now = {**asdict(settings), "start": None if start is None else str(start.resolve())}
    begun = now
    if path.exists():
        begun = {**_BEFORE, **read_record(path, dict[str, Any], "remove the folder to start anew")}
    if begun | {"rem_steps": settings.rem_steps} != now:
        raise ValueError(
            f"{work} holds a training with other settings; use another folder, or remove it to start anew."
        )
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(now, indent=2), encoding="utf-8")
