"""A denoiser from one file into another: whole, or as what it changes of a base; tensor by tensor, in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from ..input_files import load_json
from ..progress import SILENT, Progress
from ..whole_files import check_space, told_when_full, written_whole
from .adapter import is_adapter, stored_change
from .architecture import MODELSCOPE, architecture_id, describe, text_to_video_shapes
from .base_signature import KEY, row_of_stored, sign_base
from .change import LowRank
from .check import are_finite, check, check_finite_weight
from .gguf_file import SUFFIX as GGUF_SUFFIX
from .gguf_file import Writer as GGUFWriter
from .gguf_file import read_index as read_gguf_index
from .gguf_file import size_of_q8_0
from .low_rank import low_rank
from .names import name_to_diffusers, split_components, to_original
from .read import open_file
from .rounding import EIGHT_BITS, is_matrix, rounded
from .safetensors_file import Writer, read_metadata
from .stored import StoredFile, StoredTensor, read_into
from .summary import Summary, report_path, write_report

FORMAT_VERSION = "1"
"""`rem.format` of the files written here; it rises when an older reader would misread a newer file."""

DEFAULT_RANK = 64

# Small enough to stay in a processor's cache: with megabytes at a time copying takes several times as long. And below
# the size from which PyTorch shares an operation between threads, which on a busy machine wait for one another.
_PIECE = 30_000  # elements handled together
_COPIED = 1 << 19  # bytes copied together

_CHANGE_PARTS = ("lora_up.weight", "lora_down.weight", "alpha")

# `modelspec.implementation`, by architecture.
_IMPLEMENTATIONS = {"modelscope-t2v": "diffusers"}
_WAN_IMPLEMENTATION = "https://github.com/Wan-Video/Wan2.1"


@dataclass(frozen=True)
class Conversion:
    """What to convert, and into what; see `python -m rem_engine convert --help`.

    Attributes:
        source: of any form `open_state_dict` reads.
        out: the .safetensors file to write; for "gguf" the .gguf file.
        names: "comfyui" (the original names) or "diffusers".
        dtype: None keeps every tensor's own; a delta or LoRA then is in float32, and base and delta give REM exactly.
        form: "full", "delta" or "lora"; "gguf" is the whole denoiser packed in Q8_0, all but matrices of blocks in
            float32.
        base: for a delta or LoRA: what it is taken from, of any form.
        rank: of a LoRA.
        overwrite: whether `out` may be a file that no conversion has written.
    """

    source: Path
    out: Path
    names: str = "comfyui"
    dtype: torch.dtype | None = None
    form: str = "full"
    base: Path | None = None
    rank: int = DEFAULT_RANK
    overwrite: bool = False

    def __post_init__(self) -> None:
        suffix, format_name = (GGUF_SUFFIX, "GGUF") if self.form == "gguf" else (".safetensors", "safetensors")
        if self.out.suffix != suffix:
            raise ValueError(f"{self.out} is no name for {format_name}: let it end in {suffix}.")
        if self.is_change and self.base is None:
            raise ValueError(f"A {self.form} needs --base: the weights the checkpoint was fine-tuned from.")
        if not self.is_change and self.base is not None:
            raise ValueError("--base is for --as delta and --as lora; a full file holds everything itself.")
        if self.form != "full" and self.names != "comfyui":
            raise ValueError("A delta, LoRA or GGUF file has ComfyUI's names; --names diffusers is for full files.")
        if self.is_change and self.dtype in EIGHT_BITS:
            raise ValueError("Eight bits are too coarse for a delta or LoRA; choose float32, bfloat16 or float16.")
        if self.form == "gguf" and self.dtype is not None:
            raise ValueError("A GGUF file is packed in Q8_0; --dtype is for safetensors, leave it out.")
        if self.rank < 1:
            raise ValueError(f"A rank of {self.rank} is no rank; give 1 or more.")

    @property
    def is_change(self) -> bool:
        """Whether the file holds what a base lacks, and no whole weights."""
        return self.form in ("delta", "lora")


def convert(conversion: Conversion, progress: Progress = SILENT) -> Summary:
    """Write the denoiser of a checkpoint as safetensors or GGUF; beside a LoRA its report, `<out>.report.json`.

    One tensor is in memory at a time, and large ones in pieces. The file takes its name when it is complete.

    Args:
        conversion: what and how.
        progress: told "bytes" read of the source's denoiser.

    Raises:
        FileNotFoundError, ValueError: a source or base that cannot be used, or a file called `out` that no conversion
            has written.
        RuntimeError: the disk is full, or the library gguf is not installed.
        KeyboardInterrupt: with a sentence; nothing is left.
    """
    file = open_file(conversion.source)
    weights = _denoiser(file, conversion.source, conversion)
    base = None if conversion.base is None else _open_base(conversion.base, weights, conversion.source)
    read_from = {entry.file for read in (weights, base or {}) for entry in read.values()}
    if conversion.out.resolve() in {file.resolve() for file in read_from}:
        raise ValueError(f"{conversion.out} is read from: choose another name to write to.")
    if not conversion.overwrite:
        check_replaceable(conversion.out)
    conversion.out.parent.mkdir(parents=True, exist_ok=True)
    if base is None:
        _check_space(conversion, weights)
    try:
        with told_when_full(conversion.out, "make room; nothing was written"), ExitStack() as files:
            # Both are written before either takes its name; the report, which is entered first, does so last.
            is_lora = conversion.form == "lora"
            report = files.enter_context(written_whole(report_path(conversion.out))) if is_lora else None
            temporary = files.enter_context(written_whole(conversion.out))
            writer = _ConversionWriter(conversion, weights, base, _kept_metadata(file), progress)
            summary = writer.write_gguf(temporary) if conversion.form == "gguf" else writer.write(temporary)
            summary.size = temporary.stat().st_size
            if report is not None and conversion.base is not None:
                write_report(
                    report, summary, source=conversion.source.name, base=conversion.base.name, rank=conversion.rank
                )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: nothing was written to {conversion.out}; run the same command again."
        ) from None
    return summary


def check_replaceable(out: Path) -> None:
    """Raise ValueError where a file stands that, by what it says of itself, no conversion has written."""
    for file, is_ours in ((out, _is_converted), (report_path(out), _is_report)):
        if file.exists() and not is_ours(file):
            raise ValueError(f"{file} is no conversion's: name another file to write, or give --overwrite.")


def _is_converted(file: Path) -> bool:
    try:
        return "rem.format" in (read_gguf_index(file).metadata if file.suffix == GGUF_SUFFIX else read_metadata(file))
    except (ValueError, OSError):
        return False


def _is_report(file: Path) -> bool:
    try:
        return "energy_kept" in load_json(file)
    except (ValueError, TypeError, OSError):
        return False


class _ConversionWriter:
    """One conversion under way."""

    def __init__(
        self,
        conversion: Conversion,
        weights: Mapping[str, StoredTensor],
        base: Mapping[str, StoredTensor] | None,
        given: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self._conversion, self._weights, self._base, self._given = conversion, weights, base, given
        self._progress, self._done = progress, 0
        self._total = sum(entry.nbytes for entry in weights.values())
        self._summary = Summary()
        self._beside: dict[str, Tensor] = {}

    def write(self, path: Path) -> Summary:
        with open(path, "wb") as file:
            self._write(file)
        return self._summary

    def write_gguf(self, path: Path) -> Summary:
        shapes = {name: (entry.shape, _is_packed(name, entry)) for name, entry in self._weights.items()}
        writer = GGUFWriter(path, "wan", shapes, self._metadata())
        try:
            for name, entry in self._weights.items():
                writer.add(name, _finite(entry, name).float())
                self._advance(entry.nbytes)
        finally:
            writer.finish()
        self._summary.tensors = len(shapes)
        return self._summary

    def _write(self, file: BinaryIO) -> None:
        names = list(self._weights)
        possible = [*(part for name in names for part in self._possible_names(name)), "scaled_fp8"]
        self._writer = Writer(file, possible, self._metadata())
        # Wide types first, so that all lie aligned.
        for name in sorted(names, key=lambda name: -self._dtype(name).itemsize):
            if self._base is None:
                self._write_full(name)
            else:
                self._write_change(name, self._base[name])
        # Every tensor before is a multiple of four bytes in size: Wan's sides are even.
        for name, small in sorted(self._beside.items(), key=lambda item: -item[1].dtype.itemsize):
            self._add(name, small.dtype, small.shape, [small])
        self._writer.finish()

    def _write_full(self, name: str) -> None:
        entry, dtype = self._weights[name], self._dtype(name)
        stored_name = name_to_diffusers(name) if self._conversion.names == "diffusers" else name
        if dtype in EIGHT_BITS:
            values, beside = rounded(_finite(entry, name).float(), dtype, stored_name)
            self._advance(entry.nbytes)
            self._add(stored_name, dtype, entry.shape, [values])
            self._beside |= beside
        elif entry.is_contiguous:
            parts: Iterable[Tensor | memoryview] = self._copied(entry, name)
            if entry.stored_dtype != dtype:
                parts = (_cast(torch.frombuffer(part, dtype=entry.stored_dtype), dtype, name) for part in parts)
            self._add(stored_name, dtype, entry.shape, parts)
        else:
            parts = (_cast(_finite(piece, name), dtype, name) for piece in self._counted(entry))
            self._add(stored_name, dtype, entry.shape, parts)

    def _write_change(self, name: str, base: StoredTensor) -> None:
        entry, dtype = self._weights[name], self._dtype(name)
        change = self._difference(name, entry, base)
        if not change.any():
            self._summary.unchanged.append(name)
            return
        self._summary.energy[name] = float(torch.linalg.vector_norm(change)) ** 2
        stored: Tensor | LowRank = change
        if self._is_worth_factorising(name, entry):
            stored, self._summary.kept[name] = low_rank(change, self._conversion.rank)
        else:
            self._summary.full.append(name)
        for stored_name, tensor in stored_change(name, stored).items():
            if tensor.ndim == 0:
                self._beside[stored_name] = tensor.float()
            else:
                self._add(stored_name, dtype, tensor.shape, [_cast(tensor, dtype, name)])

    def _difference(self, name: str, entry: StoredTensor, base: StoredTensor) -> Tensor:
        """REM's weight less the base's, float32."""
        difference = torch.empty(entry.shape)
        flat, start = difference.view(-1), 0
        for piece, of_base in zip(self._counted(entry), base.pieces(_PIECE)):
            stop = start + piece.shape.numel()
            ours, theirs = (values.float().reshape(-1) for values in (piece.read(), _finite(of_base, name)))
            torch.sub(ours, theirs, out=flat[start:stop])
            start = stop
        check_finite_weight(difference, name, entry.file.name)
        return difference

    def _is_worth_factorising(self, name: str, entry: StoredTensor) -> bool:
        if self._conversion.form != "lora" or len(entry.shape) != 2:
            return False
        return self._conversion.rank * sum(entry.shape) < entry.shape.numel()

    def _dtype(self, name: str) -> torch.dtype:
        """What a weight, or its change, is stored in."""
        if self._base is not None:
            return self._conversion.dtype or torch.float32
        return _stored_dtype(name, self._weights[name], self._conversion.dtype)

    def _possible_names(self, name: str) -> Iterable[str]:
        layer = max(name, name_to_diffusers(name), key=len)
        beside = (f"{layer}.{kind}" for kind in ("scale_weight", "weight_scale", "comfy_quant"))
        return layer, *beside, *(f"diffusion_model.{layer}.{part}" for part in _CHANGE_PARTS)

    def _metadata(self) -> dict[str, str]:
        conversion = self._conversion
        given, architecture = self._given, str(architecture_id(self._weights))
        form = f"/{conversion.form}" if conversion.is_change else ""
        ours = {
            "format": "pt",
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{architecture}{form}",
            "modelspec.implementation": _IMPLEMENTATIONS.get(architecture, _WAN_IMPLEMENTATION),
            "modelspec.title": given.get("modelspec.title", conversion.source.stem),
            "rem.format": FORMAT_VERSION,
            "rem.form": conversion.form,
            "rem.names": conversion.names,
            "rem.dtype": "q8_0" if conversion.form == "gguf" else _dtype_name(conversion.dtype),
            "rem.source": conversion.source.name,
        }
        if conversion.base and self._base:
            ours["rem.base"] = conversion.base.name
            ours[KEY] = sign_base(self._base, row_of_stored(self._base)).to_text()
        if conversion.form == "lora":
            ours["rem.rank"] = str(conversion.rank)
        return {**given, **ours}

    def _add(self, name: str, dtype: torch.dtype, shape: torch.Size, parts: Iterable[Tensor | memoryview]) -> None:
        self._writer.add(name, dtype, shape, parts)
        self._summary.tensors += 1

    def _copied(self, entry: StoredTensor, name: str) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(_COPIED, entry.nbytes)))
        with open(entry.file, "rb", buffering=0) as file:
            file.seek(entry.offset)
            for start in range(0, entry.nbytes, _COPIED):
                part = buffer[: min(_COPIED, entry.nbytes - start)]
                read_into(file, part)
                if not are_finite(part, entry.stored_dtype):
                    check_finite_weight(torch.frombuffer(part, dtype=entry.stored_dtype), name, entry.file.name)
                yield part
                self._advance(len(part))

    def _counted(self, entry: StoredTensor) -> Iterator[StoredTensor]:
        for piece in entry.pieces(_PIECE):
            yield piece
            self._advance(piece.nbytes)

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress.update("bytes", self._done, self._total)


def _denoiser(file: StoredFile, source: Path, conversion: Conversion | None = None) -> dict[str, StoredTensor]:
    """The denoiser of a checkpoint, under the original names, complete."""
    content = file.tensors
    weights = to_original(split_components(content)["transformer"])
    if describe(weights) == MODELSCOPE:
        if conversion and (conversion.dtype in EIGHT_BITS or conversion.form == "gguf"):
            raise ValueError(
                f"{source.name} is ModelScope's UNet, which nothing here runs in eight bits: choose --dtype float16 "
                "(closest to float32 at half its size) or bfloat16."
            )
        return weights
    if is_adapter(weights) or architecture_id(weights) is None:
        raise ValueError(
            f"{source.name} holds no whole denoiser that REM works on: this is {describe(content)}; "
            "Wan2.1 text-to-video or ModelScope is expected."
        )
    check(weights, text_to_video_shapes(weights), source.name, "a whole denoiser of its kind")
    return weights


def _open_base(path: Path, weights: Mapping[str, StoredTensor], source: Path) -> dict[str, StoredTensor]:
    base = _denoiser(open_file(path), path)
    check(base, {name: entry.shape for name, entry in weights.items()}, f"The base {path.name}", source.name)
    return base


def _stored_dtype(name: str, entry: StoredTensor, dtype: torch.dtype | None) -> torch.dtype:
    if dtype in EIGHT_BITS and not is_matrix(name):
        return entry.dtype
    return dtype or entry.dtype


def _is_packed(name: str, entry: StoredTensor) -> bool:
    """Whether a weight is packed in a GGUF file."""
    return is_matrix(name) and size_of_q8_0(entry.shape) is not None


def _check_space(conversion: Conversion, weights: Mapping[str, StoredTensor]) -> None:
    dtype = torch.float32 if conversion.form == "gguf" else conversion.dtype
    needed = 0
    for name, entry in weights.items():
        packed = size_of_q8_0(entry.shape) if conversion.form == "gguf" and is_matrix(name) else None
        needed += packed or entry.shape.numel() * _stored_dtype(name, entry, dtype).itemsize
    check_space(needed, conversion.out, conversion.out.parent)


def _cast(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    cast = values.to(dtype)
    if dtype == torch.float16 and values.dtype != dtype and not cast.isfinite().all():
        raise ValueError(f"{name} holds values that float16 cannot (beyond 65504, or none); choose bfloat16.")
    return cast


def _finite(piece: StoredTensor, name: str) -> Tensor:
    values = piece.read()
    check_finite_weight(values, name, piece.file.name)
    return values


def _kept_metadata(file: StoredFile) -> dict[str, str]:
    """What a source says of itself that stays true: who made it and under which licence, not how it is stored."""
    stale = ("modelspec.hash_sha256", "modelspec.thumbnail")
    return {key: value for key, value in file.metadata.items() if key.startswith("modelspec.") and key not in stale}


def _dtype_name(dtype: torch.dtype | None) -> str:
    return "keep" if dtype is None else str(dtype).removeprefix("torch.")
