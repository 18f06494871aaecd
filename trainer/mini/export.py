"""Writing REM-mini as the folder the engine and the host's loaders read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from rem_engine.checkpoints import to_original
from rem_engine.input_files import NotJson, load_json
from rem_engine.known_words import words_of
from rem_engine.media.writing import write_bytes
from rem_engine.whole_files import written_whole

from .settings import MiniSettings
from .text import corpus

OVERLAP = 4
_NAME = "REM-mini"


def write_weights(path: Path, state: dict[str, Tensor], title: str, description: str) -> None:
    """Save diffusers-named Wan weights as float16 under ComfyUI's names, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.to(torch.float16).contiguous() for name, value in to_original(state).items()}
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": title,
        "modelspec.description": description,
        "modelspec.license": "Apache-2.0",
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={**metadata, "format": "pt"})


def check_is_ours(folder: Path) -> None:
    """Raise ValueError where a model stands in `folder` that is no REM-mini."""
    card = folder / "rem.json"
    try:
        ours = load_json(card)["name"] == _NAME
    except (NotJson, OSError, TypeError, KeyError):
        ours = False
    parts = (folder / name for name in ("rem.json", "transformer", "vae", "t2v", "text_encoder", "tokenizer"))
    if not ours and (there := next((part for part in parts if part.exists()), None)):
        raise ValueError(f"{there} is of no REM-mini: move it away, or name another --out.")


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def export_mini(
    folder: Path, settings: MiniSettings, vae, text_encoder, transformer, t2v_state, tokenizer: Path
) -> None:
    """Write the whole model folder.

    Args:
        folder: where; files of the same names are replaced, others (the model card) stay.
        settings: sizes that rem.json states.
        vae, text_encoder, transformer: the trained modules, under diffusers' and transformers' names.
        t2v_state: the transformer's weights after text-to-video pre-training.
        tokenizer: folder of `train_tokenizer`.
    """
    size = [settings.size, settings.size]
    _write_json(
        folder / "rem.json",
        {
            "name": _NAME,
            "size": size,
            "window": settings.frames,
            "overlap": min(OVERLAP, settings.frames // 2),
            "words": sorted({word for text in corpus(settings.world, settings.seed) for word in words_of(text)}),
        },
    )
    for part, module in (("transformer", transformer), ("vae", vae)):
        config = {key: value for key, value in module.config.items() if not key.startswith("_")}
        _write_json(folder / part / "config.json", {"_class_name": type(module).__name__, **config})
    write_weights(
        folder / "transformer" / "rem_mini.safetensors",
        transformer.state_dict(),
        "REM-mini",
        "A small REM denoiser (Wan2.1 architecture): at timestep 0, video latents and a sentence in, mask latents out.",
    )
    write_weights(
        folder / "vae" / "rem_mini_vae.safetensors",
        vae.state_dict(),
        "REM-mini VAE",
        "A small VAE of the Wan2.1 architecture, normalised by Wan2.1's latent statistics.",
    )
    write_weights(
        folder / "t2v" / "rem_mini_t2v.safetensors",
        t2v_state,
        "REM-mini text-to-video",
        "The text-to-video denoiser REM-mini was fine-tuned from.",
    )
    text_encoder.to(torch.float16).save_pretrained(folder / "text_encoder")
    shutil.copytree(tokenizer, folder / "tokenizer", dirs_exist_ok=True)
