"""Weights out of files of any of the forms they come in, without running anything a file contains."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from . import gguf_file, pickle_file, safetensors_file
from .foreign import SHARDED_PICKLES, check_folder, check_form
from .nested import Place, StateDicts, chosen_part, select
from .scales import unite_scales
from .stored import StoredFile, StoredTensor, map_tensors

_HALF = re.compile(r"[.-]fp16[.-]")  # in the names of files in half precision


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a file, or of a model folder's component (`transformer/`, `vae/`, ...).

    Understands safetensors, sharded safetensors (through their index), GGUF, and PyTorch's files such as the official
    REM `.pth`, in float32, bfloat16, float16, fp8 and int8. A `.pth` is unpickled through an allow-list: a file that
    asks for anything else is refused and nothing in it runs. Tensors are mapped from the file where the format permits,
    so that large files cost no memory until they are used. Scaled fp8, int8 and packed weights come multiplied out, in
    float32.

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
    return open_file(path).tensors


def open_file(path: str | Path) -> StoredFile:
    """What `open_state_dict` opens, with what the file says of itself.

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
        return StoredFile(unite_scales(pickle_file.read_index(path, choose), {}))
    if path.name.endswith(safetensors_file.INDEX_SUFFIX):
        file = safetensors_file.read_sharded_index(path)
    elif path.suffix == ".safetensors":
        file = safetensors_file.read_index(path)
    elif path.suffix == gguf_file.SUFFIX:
        file = gguf_file.read_index(path)
    else:
        raise ValueError(
            f"{path.name} is not a checkpoint this reads; .safetensors, its .index.json, .gguf or .pth is expected: "
            "convert what is of another form, and let names end so."
        )
    chosen = {bare: file.tensors[name] for bare, (_, name) in choose({"": file.tensors}).items()}
    return StoredFile(unite_scales(chosen, file.metadata), file.metadata)


def _component_file(folder: Path) -> Path:
    """The file to read in a folder: a component's own, or the denoiser's of a whole model folder.

    Published folders hold the same weights several times: in full and, as `<name>.fp16.<suffix>`, in half precision; as
    safetensors and as PyTorch's `.bin`. In full goes before in half, then safetensors before `.bin` before GGUF.
    """
    patterns = (f"*{safetensors_file.INDEX_SUFFIX}", "*.safetensors", "*.bin", f"*{gguf_file.SUFFIX}")
    forms = [sorted(folder.glob(pattern)) for pattern in patterns]
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
