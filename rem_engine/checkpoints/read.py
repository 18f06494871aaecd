"""Weights out of files of any of the forms they come in, without running anything a file contains."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from . import pickle_file, safetensors_file
from .stored import StoredTensor, map_tensors, unite_scales

# What training wraps around modules at any depth: DistributedDataParallel, FSDP, activation checkpointing,
# torch.compile.
_WRAPPER = re.compile(r"(?:^|(?<=\.))(?:module|_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")

_HALF = re.compile(r"[.-]fp16[.-]")  # in the names of files in half precision

# Where a component's own names begin: REM's trainer; ComfyUI's whole checkpoints.
_PREFIXES = (
    "backbone.dit.",
    "backbone.vae.",
    "backbone.unet.",
    "model.diffusion_model.",
    "first_stage_model.",
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a file, or of a model folder's component (`transformer/`, `vae/`, ...).

    Understands safetensors, sharded safetensors (through their index), and PyTorch's files such as the official REM
    `.pth`, in float32, bfloat16, float16 and fp8. A `.pth` is unpickled through an allow-list: a file that asks for
    anything else is refused and nothing in it runs. Tensors are mapped from the file where the format permits, so that
    large files cost no memory until they are used. Scaled fp8 comes multiplied out, in float32.

    Returns:
        Tensors by name, without wrapping prefixes such as `module.` or `backbone.dit.`. A file that holds several
        components (transformer and VAE) gives them together; `split_components` separates them.

    Raises:
        FileNotFoundError: nothing there, or a shard is missing.
        ValueError: not a readable checkpoint, or one that holds more than weights and plain settings.
    """
    return map_tensors(open_state_dict(path))


def open_state_dict(path: str | Path) -> dict[str, StoredTensor]:
    """What `read_state_dict` reads, as tensors in the file: one at a time can then be read, and let go of.

    Raises:
        as `read_state_dict`.
    """
    path = Path(path)
    if path.is_dir():
        path = _component_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}; check the name, or download the file first.")
    if path.name.endswith(safetensors_file.INDEX_SUFFIX):
        stored = safetensors_file.read_sharded_index(path)
    elif path.suffix == ".safetensors":
        stored = safetensors_file.read_index(path)
    elif path.suffix in pickle_file.SUFFIXES:
        stored = pickle_file.read_index(path)
    else:
        raise ValueError(
            f"{path.name} is not a checkpoint this reads; .safetensors, its .index.json, or .pth is expected."
        )
    bare: dict[str, StoredTensor] = {}
    for name, entry in stored.items():
        short = _bare_name(name)
        if short in bare:
            raise ValueError(f"{path.name} holds {short} twice, under different wrappings; one is expected.")
        bare[short] = entry
    return unite_scales(bare)


def _component_file(folder: Path) -> Path:
    """The file to read in a folder: a component's own, or the denoiser's of a whole model folder.

    Published folders hold the same weights several times: in full and, as `<name>.fp16.<suffix>`, in half precision; as
    safetensors and as PyTorch's `.bin`. In full goes before in half, then safetensors before `.bin`.
    """
    forms = [
        sorted(folder.glob(pattern)) for pattern in (f"*{safetensors_file.INDEX_SUFFIX}", "*.safetensors", "*.bin")
    ]
    whole = [[file for file in files if not _HALF.search(file.name)] for files in forms]
    found = next(filter(None, (*whole, *forms)), [])
    if not found:
        for denoiser in ("transformer", "unet"):
            if (folder / denoiser).is_dir():
                return _component_file(folder / denoiser)
        raise FileNotFoundError(f"There are no weights in {folder}; one .safetensors file is expected there.")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder} holds several sets of weights ({names}); leave one there.")
    return found[0]


def _bare_name(name: str) -> str:
    name = _WRAPPER.sub("", name)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
