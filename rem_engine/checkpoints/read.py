"""Weights out of files of any of the forms they come in, without running anything a file contains."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from . import pickle_file, safetensors_file
from .foreign import SHARDED_PICKLES, check_folder, check_form
from .nested import Place, StateDicts, chosen_part, select
from .stored import StoredTensor, map_tensors, unite_scales

_HALF = re.compile(r"[.-]fp16[.-]")  # in the names of files in half precision


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a file, or of a model folder's component (`transformer/`, `vae/`, ...).

    Understands safetensors, sharded safetensors (through their index), and PyTorch's files such as the official REM
    `.pth`, in float32, bfloat16, float16 and fp8. A `.pth` is unpickled through an allow-list: a file that asks for
    anything else is refused and nothing in it runs. Tensors are mapped from the file where the format permits, so that
    large files cost no memory until they are used. Scaled fp8 comes multiplied out, in float32.

    Args:
        path: of the file or folder. Of a file that holds several denoisers, with the name of one after it:
            "rem.pth:ema".

    Returns:
        Tensors by name, of the denoiser or adapter that is found in the file, however deep it lies among what a trainer
        keeps beside it, and without prefixes such as `module.` or `model.diffusion_model.`. A VAE beside it comes with
        it; `split_components` separates them.

    Raises:
        FileNotFoundError: nothing there, or a shard is missing.
        ValueError: not a readable checkpoint, one that holds more than weights and plain settings, or several denoisers
            and none is named.
    """
    return map_tensors(open_state_dict(path))


def open_state_dict(path: str | Path) -> dict[str, StoredTensor]:
    """What `read_state_dict` reads, as tensors in the file: one at a time can then be read, and let go of.

    Raises:
        as `read_state_dict`.
    """
    path, part = chosen_part(Path(path))
    if path.is_dir():
        path = _component_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}; check the name, or download the file first.")

    check_form(path)

    def choose(state_dicts: StateDicts) -> dict[str, Place]:
        return select(state_dicts, part, path.name)

    if path.suffix in pickle_file.SUFFIXES:
        return unite_scales(pickle_file.read_index(path, choose))
    if path.name.endswith(safetensors_file.INDEX_SUFFIX):
        stored = safetensors_file.read_sharded_index(path)
    elif path.suffix == ".safetensors":
        stored = safetensors_file.read_index(path)
    else:
        raise ValueError(
            f"{path.name} is not a checkpoint this reads; .safetensors, its .index.json, or .pth is expected: convert "
            "what is of another form, and let names end so."
        )
    return unite_scales({bare: stored[name] for bare, (_, name) in choose({"": stored}).items()})


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
        check_folder(folder)
        raise FileNotFoundError(f"There are no weights in {folder}; one .safetensors file is expected there.")
    for index in folder.glob(f"*{SHARDED_PICKLES}") if len(found) > 1 else ():
        check_form(index)
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder} holds several sets of weights ({names}); leave one there.")
    return found[0]
