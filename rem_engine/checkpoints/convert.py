"""A denoiser from one file into another: whole, or as what it changes of a base; tensor by tensor, in little memory."""

from __future__ import annotations

import re
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
from .low_rank import low_rank
from .names import name_to_diffusers, split_components, to_original
from .nested import chosen_part
from .read import open_state_dict
from .safetensors_file import Writer, read_metadata
from .stored import FLOAT8, StoredTensor, read_into
from .summary import Summary, report_path, write_report

FORMAT_VERSION = "1"
"""`rem.format` of the files written here; it rises when an older reader would misread a newer file."""

DEFAULT_RANK = 64

# Small enough to stay in a processor's cache: with megabytes at a time copying takes several times as long. And below
# the size from which PyTorch shares an operation between threads, which on a busy machine wait for one another.
_PIECE = 30_000  # elements handled together
_COPIED = 1 << 19  # bytes copied together

# What fp8 files hold in fp8; everything else (norms, biases, modulation, embeddings, head) stays as it is.
_FLOAT8_WEIGHT = re.compile(r"blocks\.\d+\.(?:(?:self|cross)_attn\.[qkvo]|ffn\.[02])\.weight")
# The largest float8_e4m3fn. For e5m2 too: ComfyUI 0.8.0 turns every scaled fp8 file into e4m3.
_FLOAT8_MAX = 448.0

_CHANGE_PARTS = ("lora_up.weight", "lora_down.weight", "alpha")

# `modelspec.implementation`, by architecture.
_IMPLEMENTATIONS = {"modelscope-t2v": "diffusers"}
_WAN_IMPLEMENTATION = "https://github.com/Wan-Video/Wan2.1"


@dataclass(frozen=True)
class Conversion:
    """What to convert, and into what; see `python -m rem_engine convert --help`.

    Attributes:
        source: of any form `open_state_dict` reads.
        out: the .safetensors file to write.
        names: "comfyui" (the original names) or "diffusers".
        dtype: None keeps every tensor's own; a delta or LoRA then is in float32, and base and delta give REM exactly.
        form: "full", "delta" or "lora".
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
        if self.out.suffix != ".safetensors":
            raise ValueError(f"{self.out} is no name for safetensors: let it end in .safetensors.")
        if self.form != "full" and self.base is None:
            raise ValueError(f"A {self.form} needs --base: the weights the checkpoint was fine-tuned from.")
        if self.form == "full" and self.base is not None:
            raise ValueError("--base is for --as delta and --as lora; a full file holds everything itself.")
        if self.form != "full" and self.names != "comfyui":
            raise ValueError("A delta or LoRA has ComfyUI's names; --names diffusers is for full files.")
        if self.form != "full" and self.dtype in FLOAT8:
            raise ValueError("fp8 is too coarse for a delta or LoRA; choose float32, bfloat16 or float16.")
        if self.rank < 1:
            raise ValueError(f"A rank of {self.rank} is no rank; give 1 or more.")


def convert(conversion: Conversion, progress: Progress = SILENT) -> Summary:
    """Write the denoiser of a checkpoint as safetensors; beside a LoRA its report, `<out>.report.json`.

    One tensor is in memory at a time, and large ones in pieces. The file takes its name when it is complete.

    Args:
        conversion: what and how.
        progress: told "bytes" read of the source's denoiser.

    Raises:
        FileNotFoundError, ValueError: a source or base that cannot be used, or a file called `out` that no conversion
            has written.
        RuntimeError: the disk is full.
        KeyboardInterrupt: with a sentence; nothing is left.
    """
    weights = _open_denoiser(conversion.source, conversion.dtype)
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
            with open(temporary, "wb") as file:
                summary = _ConversionWriter(conversion, weights, base, progress).write(file)
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
        return "rem.format" in read_metadata(file)
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
        progress: Progress,
    ) -> None:
        self._conversion, self._weights, self._base = conversion, weights, base
        self._progress, self._done = progress, 0
        self._total = sum(entry.nbytes for entry in weights.values())
        self._summary = Summary()
        self._scalars: dict[str, Tensor] = {}

    def write(self, file: BinaryIO) -> Summary:
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
        for name, scalar in sorted(self._scalars.items(), key=lambda item: -item[1].dtype.itemsize):
            self._add(name, scalar.dtype, scalar.shape, [scalar])
        self._writer.finish()
        return self._summary

    def _write_full(self, name: str) -> None:
        entry, dtype = self._weights[name], self._dtype(name)
        stored_name = name_to_diffusers(name) if self._conversion.names == "diffusers" else name
        if dtype in FLOAT8:
            values = entry.read().float()
            check_finite_weight(values, name, entry.file.name)
            self._advance(entry.nbytes)
            scale = (values.abs().amax() / _FLOAT8_MAX).clamp(min=torch.finfo(torch.float32).tiny)
            self._add(stored_name, dtype, entry.shape, [_cast(values / scale, dtype, name)])
            self._scalars[f"{stored_name.removesuffix('.weight')}.scale_weight"] = scale
            # Two elements say: multiply in the wide type. ComfyUI's own files have the marker so.
            self._scalars["scaled_fp8"] = torch.zeros(2, dtype=dtype)
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
                self._scalars[stored_name] = tensor.float()
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
        return layer, f"{layer}.scale_weight", *(f"diffusion_model.{layer}.{part}" for part in _CHANGE_PARTS)

    def _metadata(self) -> dict[str, str]:
        conversion = self._conversion
        given, architecture = _metadata_of(conversion.source), str(architecture_id(self._weights))
        form = "" if conversion.form == "full" else f"/{conversion.form}"
        ours = {
            "format": "pt",
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{architecture}{form}",
            "modelspec.implementation": _IMPLEMENTATIONS.get(architecture, _WAN_IMPLEMENTATION),
            "modelspec.title": given.get("modelspec.title", conversion.source.stem),
            "rem.format": FORMAT_VERSION,
            "rem.form": conversion.form,
            "rem.names": conversion.names,
            "rem.dtype": _dtype_name(conversion.dtype),
            "rem.source": conversion.source.name,
        }
        if conversion.base and self._base:
            ours["rem.base"] = conversion.base.name
            ours[KEY] = sign_base(self._base, row_of_stored(self._base)).to_text()
        if conversion.form == "lora":
            ours["rem.rank"] = str(conversion.rank)
        return given | ours

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


def _open_denoiser(source: Path, dtype: torch.dtype | None = None) -> dict[str, StoredTensor]:
    """The denoiser of a checkpoint, under the original names, complete."""
    content = open_state_dict(source)
    weights = to_original(split_components(content)["transformer"])
    if describe(weights) == MODELSCOPE:
        if dtype in FLOAT8:
            raise ValueError(
                f"{source.name} is ModelScope's UNet, which nothing here runs in fp8: choose --dtype float16 "
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
    base = _open_denoiser(path)
    check(base, {name: entry.shape for name, entry in weights.items()}, f"The base {path.name}", source.name)
    return base


def _stored_dtype(name: str, entry: StoredTensor, dtype: torch.dtype | None) -> torch.dtype:
    if dtype in FLOAT8 and not _FLOAT8_WEIGHT.fullmatch(name):
        return entry.dtype
    return dtype or entry.dtype


def _check_space(conversion: Conversion, weights: Mapping[str, StoredTensor]) -> None:
    needed = sum(
        entry.shape.numel() * _stored_dtype(name, entry, conversion.dtype).itemsize for name, entry in weights.items()
    )
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


def _metadata_of(source: Path) -> dict[str, str]:
    """What a source says of itself that stays true: who made it and under which licence, not how it is stored."""
    source, _ = chosen_part(source)
    if source.suffix != ".safetensors":
        return {}
    stale = ("modelspec.hash_sha256", "modelspec.thumbnail")
    return {
        key: value for key, value in read_metadata(source).items() if key.startswith("modelspec.") and key not in stale
    }


def _dtype_name(dtype: torch.dtype | None) -> str:
    return "keep" if dtype is None else str(dtype).removeprefix("torch.")
