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
from ..synth.backgrounds import RealClips
from ..synth.worlds import PLAIN, WORLDS
from .denoiser import Texts, fine_tune, new_transformer, pretrain
from .export import check_is_ours, export_mini
from .latents import encode_pool
from .pool import build_pool, mixed_plates
from .settings import MiniSettings
from .stage import STAGES, stage_seconds
from .text import new_text_encoder, train_tokenizer
from .vae import mask_carry, round_to_half, standardise, train_vae


def train_mini(
    work: Path,
    output: Path,
    settings: MiniSettings,
    clips: Path | None = None,
    compile_model: bool = True,
    progress: Progress = SILENT,
) -> None:
    """Train REM-mini and write its model folder.

    Args:
        work: working folder; what stands there is gone on from.
        output: the model folder to write.
        settings: sizes and budgets; between runs in one working folder only `rem_steps`, the last stage's, may change.
        clips: folder of real clips for backgrounds; without it all backgrounds are procedural.
        compile_model: whether to compile the VAE's training step, which takes minutes and halves each step.
        progress: told "shots" rendered and "clips" encoded.

    Raises:
        ValueError: the working folder belongs to a training with other settings, or there are files in the way that no
            training has written.
        RuntimeError: another process trains there, or writes to `output`.
    """
    if work.resolve() == output.resolve():
        raise ValueError(f"{work} cannot be the working folder and the model folder at once: name another --out.")
    with locked(work, "name another --work"), locked(output, "name another --out"):
        check_is_ours(output)
        _same_settings(work, settings)
        _train(work, output, settings, clips, compile_model, progress)


def _train(
    work: Path, output: Path, settings: MiniSettings, clips: Path | None, compile_model: bool, progress: Progress
) -> None:
    from transformers import T5TokenizerFast

    real = None if clips is None else RealClips(clips)
    plates = mixed_plates(real, settings.real_backgrounds)
    world, size = WORLDS[settings.world], (settings.frames, settings.size)
    pool = build_pool(work / "pool", world, settings.clips, *size, settings.seed, plates, progress)
    heldout = build_pool(work / "heldout", world, settings.heldout_clips, *size, settings.seed + 1000, plates, progress)

    vae = train_vae(pool, settings, work, compile_model)
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
    pretrain(pool, latents, transformer, texts, vae, settings.t2v_steps, work)
    round_to_half(texts)
    t2v_state = copy.deepcopy(transformer.state_dict())
    fine_tune(pool, latents, transformer, texts, vae, settings.rem_steps, work)
    export_mini(output, settings, vae, texts.encoder, transformer, t2v_state, work / "tokenizer")
    print(f"written to {output}; " + ", ".join(f"{k} {v / 60:.0f} min" for k, v in stage_seconds(work).items()))


_KEPT = ("pool", "heldout", "latents", "tokenizer", STAGES)


def _same_settings(work: Path, settings: MiniSettings) -> None:
    path = work / "settings.json"
    if not path.exists() and (there := next((work / name for name in _KEPT if (work / name).exists()), None)):
        raise ValueError(f"{there} is of no training: move it away, or name another --work.")
    # a folder that names no world was begun before there were two
    begun = asdict(settings)
    if path.exists():
        begun = {"world": PLAIN, **read_record(path, dict[str, Any], "remove the folder to start anew")}
    if begun | {"rem_steps": settings.rem_steps} != asdict(settings):
        raise ValueError(
            f"{work} holds a training with other settings; use another folder, or remove it to start anew."
        )
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(asdict(settings), indent=2), encoding="utf-8")
