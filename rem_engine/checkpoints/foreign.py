"""Files of weights in forms that are not read here: what they are, and what to do. Such a file is not damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

from . import gguf_file
from .pickle_file import SUFFIXES

_HEAD = 512  # bytes
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of TensorFlow's tables of tensors, as of LevelDB's
_SAFETENSORS_HEADER = b"{"  # after eight bytes that say its length

_TO_SAFETENSORS = "save its weights as .safetensors (safetensors.torch.save_file) where it was made"

_MERGED = "merge its folder: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER OUT.pth"

# What a file begins with, and what it is then.
_SIGNS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as of Keras", "convert it with transformers or diffusers (from_tf=True)"),
    (b"\x93NUMPY", "a NumPy array", _TO_SAFETENSORS),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard", "unpack it"),
    (b"version https://git-lfs", "the note that Git LFS leaves in a file's place", "fetch it with `git lfs pull`"),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)

# What a file is by its name, where its content tells nothing.
_NAMES = {
    ".onnx": ("an ONNX model", "take the weights it was exported from"),
    ".msgpack": ("Flax weights", "convert them with diffusers or transformers (from_flax=True)"),
    ".h5": ("Keras weights", "convert them with transformers (from_tf=True)"),
    ".keras": ("Keras weights", _TO_SAFETENSORS),
    ".pb": ("a TensorFlow graph", "take the weights it was exported from"),
    ".tflite": ("a TensorFlow Lite model", "take the weights it was exported from"),
    ".index": ("the index of a TensorFlow checkpoint", _TO_SAFETENSORS),
    ".meta": ("the graph of a TensorFlow checkpoint", _TO_SAFETENSORS),
    ".engine": ("a TensorRT engine", "take the weights it was built from"),
    ".plan": ("a TensorRT engine", "take the weights it was built from"),
    ".mlmodel": ("a Core ML model", "take the weights it was exported from"),
    ".npz": ("an archive of NumPy arrays", _TO_SAFETENSORS),
    ".distcp": ("a part of a distributed checkpoint", _MERGED),
}

SHARDED_PICKLES = ".bin.index.json"
"""How the index of a model in several PyTorch files ends."""


def check_form(path: Path) -> None:
    """Raise ValueError for a whole file of weights of a form that is not read here, with what it is and what to do."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_TABLE_END)))
        tail = file.read()
    starts = head, head.lstrip().lower()
    kind = next(
        ((what, advice) for sign, what, advice in _SIGNS if any(start.startswith(sign) for start in starts)), None
    )
    if kind is None and tail == _TABLE_END:
        kind = "a TensorFlow checkpoint", _TO_SAFETENSORS
    if kind is None and head.startswith(b"PK\x03\x04"):
        kind = _kind_of_archive(path)
    length = int.from_bytes(head[:8], "little")
    if kind is None and path.suffix in SUFFIXES and head[8:9] == _SAFETENSORS_HEADER and length < size:
        kind = "a safetensors file under another name", "rename it to end in .safetensors"
    if kind is None and path.suffix != gguf_file.SUFFIX and head.startswith(gguf_file.MAGIC):
        kind = "a GGUF file under another name", "rename it to end in .gguf"
    if kind is None and path.name.endswith(SHARDED_PICKLES):
        kind = "the index of PyTorch files", f"{_TO_SAFETENSORS}, or take the same model in .safetensors"
    kind = kind or _NAMES.get(path.suffix.lower())
    if kind is not None:
        raise ValueError(f"{path.name} is {kind[0]}, which is not supported: {kind[1]}.")


def check_folder(folder: Path) -> None:
    """The same for a folder that holds no weights of a form that is read."""
    if (folder / ".metadata").is_file() or any(folder.glob("*.distcp")):
        raise ValueError(f"{folder} is a distributed checkpoint, which is not supported: {_MERGED}.")
    if any(folder.rglob("*zero_pp_rank_*_optim_states.pt")):
        raise ValueError(
            f"{folder} is a checkpoint of DeepSpeed's ZeRO in parts, which is not supported: merge it with the "
            "zero_to_fp32.py that lies in it."
        )
    for suffix in _NAMES:
        if found := next(iter(sorted(folder.glob(f"*{suffix}"))), None):
            check_form(found)


def _kind_of_archive(path: Path) -> tuple[str, str] | None:
    """Of a ZIP archive: what it is where PyTorch has not saved it as weights, or it has another file's name."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None  # it is damaged: the reader says so
    if any(member.endswith("/constants.pkl") for member in members):
        return "a TorchScript program", "save its state_dict() with torch.save"
    if any(member.endswith("data.pkl") for member in members):
        return None if path.suffix in SUFFIXES else ("a PyTorch file under another name", "rename it to end in .pth")
    if any(member.endswith(".npy") for member in members):
        return _NAMES[".npz"]
    if any(member.endswith(("archive_format", "serialized_exported_program.json")) for member in members):
        return "a program of torch.export", "save its state_dict with torch.save"
    if path.suffix in SUFFIXES and not members:
        return None
    return "a ZIP archive", "unpack it"
