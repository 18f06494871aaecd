"""From a model's name to a backbone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..devices import find_device
from .base import WAN, Memory

if TYPE_CHECKING:
    import torch

    from .base import Backbone, FamilyKey
    from .checkpoint import Paths

_log = logging.getLogger(__name__)

MINI_FOLDER = Path(__file__).parents[1] / "mini"


def load_backbone(
    model: str | Path = "mini",
    *,
    checkpoint: Paths = None,
    strength: float | Sequence[float] = 1.0,
    device: str = "auto",
    dtype: str = "auto",
    memory: Memory = "auto",
) -> Backbone:
    """Load a model from disk, never from the network.

    Args:
        model: "mini" (bundled), or a folder in diffusers' layout: of Wan2.1 with `transformer/`, `vae/`,
            `text_encoder/` and `tokenizer/`, such as a download of Wan-AI/Wan2.1-T2V-14B-Diffusers; or of ModelScope
            with `unet/` in place of the transformer, and `scheduler/`: ali-vilab/text-to-video-ms-1.7b.
        checkpoint: REM weights (.pth or .safetensors), one file or several: whole ones take the place of the
            denoiser's and, where they hold one, of the VAE's; deltas and LoRAs are added to the denoiser's in their
            order, each to what it was made over where the file says what that is.
        strength: of deltas and LoRAs, 0 (the model's own weights) to 1 (REM): of all, or one for each in their order.
        device: see `devices.find_device`.
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is what the authors evaluate in: for Wan bfloat16 on a
            GPU (and float32 on the CPU), for ModelScope float32.
        memory: "whole" keeps all weights in memory. "stream" leaves those of Wan's denoiser and text encoder in their
            files and reads them block by block, once a shot, to the same masks bit by bit where a pass holds one
            prompt; memory then holds two blocks of a denoiser. "auto" keeps them whole where they fit into seven tenths
            of what is free, and else as many blocks as fit into half of it. What a text encoder of Wan's size gives for
            a prompt is kept on disk in any case (`prompt_rows`), and the encoder read where a prompt is new.

    Raises:
        FileNotFoundError: no such model or checkpoint.
        ValueError: weights that do not fit the model or its base, or a device or type that does not exist.
        RuntimeError: a device was asked for and there is none.
    """
    from .folder import family_of
    from .modelscope import load_modelscope
    from .wan import load_wan

    folder = find_model_folder(model)
    chosen = find_device(device)
    family = family_of(folder)
    loaders: Mapping[FamilyKey, Callable[..., Backbone]] = {"wan": load_wan, "modelscope": load_modelscope}
    if memory not in get_args(Memory):
        raise ValueError(f"There is no memory {memory!r} here; use 'auto', 'whole' or 'stream'.")
    if memory == "stream" and family is not WAN:
        raise ValueError(f"The weights of {family.name} are not streamed: they fit whole, leave memory at 'auto'.")
    of_wan: dict[str, Any] = {"memory": memory, "keep_rows": True} if family is WAN else {}
    if dtype == "auto":
        dtype = "float32" if chosen.type == "cpu" else family.gpu_dtype
    _log.debug("loading %s on %s in %s, with %s", folder, chosen, dtype, checkpoint or "its own weights")
    return loaders[family.key](
        folder,
        checkpoint=checkpoint,
        strength=strength,
        device=chosen,
        dtype=_dtype(dtype),
        **of_wan,
    )


def find_model_folder(model: str | Path) -> Path:
    """The folder of a model: REM-mini's for "mini", else the path itself.

    Raises:
        FileNotFoundError: there is none.
    """
    from ..models import missing_model

    folder = MINI_FOLDER if model == "mini" else Path(model)
    if not str(model) or not folder.is_dir():  # an empty path would be the folder that one is in
        raise FileNotFoundError(missing_model(model))
    return folder


def _dtype(name: str) -> torch.dtype:
    import torch

    if name not in ("float32", "bfloat16", "float16"):
        raise ValueError(f"There is no dtype {name!r} here; use 'auto', 'float32', 'bfloat16' or 'float16'.")
    return getattr(torch, name)
