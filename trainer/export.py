"""A trained model as one file that the engine and LoadREM read: whole, or as what it changes of its base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from rem_engine.backbones.checkpoint import Checkpoint, Paths, checkpoint_paths, open_checkpoint
from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import find_model_folder
from rem_engine.checkpoints import LowRank, read_changes, to_diffusers, to_original
from rem_engine.checkpoints.adapter import stored_change
from rem_engine.checkpoints.base_signature import KEY, BaseSignature, sign_base
from rem_engine.checkpoints.change import apply_change, change_row
from rem_engine.checkpoints.convert import DEFAULT_RANK, FORMAT_VERSION, Conversion, check_replaceable, convert
from rem_engine.checkpoints.names import name_to_diffusers
from rem_engine.checkpoints.read import open_state_dict
from rem_engine.checkpoints.safetensors_file import Writer
from rem_engine.checkpoints.stored import StoredTensor
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import scratch_folder, told_when_full, written_whole

from .run.checkpoint import (
    AVERAGE_FILE,
    DEEPSPEED,
    DENOISER_FILE,
    FSDP_SHARDS,
    FSDP_WHOLE,
    Checkpoints,
    read_weights,
)
from .run.run_folder import CHECKPOINTS, Start, read_settings, read_start

if TYPE_CHECKING:
    from .settings import LoraSettings, TrainSettings


@dataclass(frozen=True)
class Export:
    """What to write of a run; see `python -m trainer export --help`.

    Attributes:
        run: folder of the run.
        out: the .safetensors file.
        form: "full", "delta" (what the base lacks) or "lora" (that, in low rank).
        which: the "last" checkpoint or the "best".
        over: what a delta or LoRA adds to: the "base", or the "start", which is the base with the run's --checkpoint.
        rank: of a LoRA that is taken from whole weights; one that was trained has its own.
        names, dtype, overwrite: see `Conversion`.
    """

    run: Path
    out: Path
    form: Literal["full", "delta", "lora"] = "full"
    which: Literal["last", "best"] = "last"
    over: Literal["base", "start"] = "base"
    rank: int | None = None
    names: str = "comfyui"
    dtype: torch.dtype | None = None
    overwrite: bool = False


def export(request: Export, progress: Progress = SILENT) -> Path:
    """Write what a run has trained, the moving average where it keeps one.

    A delta or LoRA is what the base's model folder lacks, or what the run's start does, as `over` says; except that a
    trained LoRA is written as it is: a change of what it was trained over, the run's `--checkpoint` where it had one.
    One tensor is in memory at a time.

    Args:
        request: what, and how.
        progress: told "bytes" done.

    Returns:
        folder of the checkpoint that was read.

    Raises:
        FileNotFoundError: no run, or none of its checkpoints.
        ValueError: a form that the run cannot be written in, or a file called `out` that no export has written.
        RuntimeError: the disk is full.
    """
    start, settings = read_start(request.run), read_settings(request.run)
    objective = settings.objective
    if (objective.decoder, objective.init, objective.timestep, objective.output) != ("vae", "t2v", 0, "mask"):
        raise ValueError(
            f"{request.run} trained an ablation (decoder {objective.decoder}, init {objective.init}, timestep "
            f"{objective.timestep}, output {objective.output}), which the engine cannot run; runs of REM's own "
            "objective can be exported."
        )
    checkpoints = Checkpoints(request.run / CHECKPOINTS, settings.keep_last)
    checkpoint = checkpoints.latest() if request.which == "last" else checkpoints.best()
    if checkpoint is None:
        what = "checkpoint" if request.which == "last" else "evaluated checkpoint"
        raise FileNotFoundError(f"{request.run} holds no {what} yet; train it further.")
    if not request.overwrite:
        check_replaceable(request.out)
    trained = _trained(checkpoint)
    with told_when_full(request.out, "make room; nothing was written"):
        _write_export(request, checkpoint, trained, start, settings, progress)
    return checkpoint


def _write_export(
    request: Export,
    checkpoint: Path,
    trained: Mapping[str, Tensor],
    start: Start,
    settings: TrainSettings,
    progress: Progress,
) -> None:
    folder = find_model_folder(start.model)
    part = folder / family_of(folder).denoiser
    if settings.lora is not None and request.form == "lora":
        if request.rank not in (None, settings.lora.rank):
            raise ValueError(f"The run trained a LoRA of rank {settings.lora.rank}; leave out --rank.")
        dtype = request.dtype or torch.float32
        if not dtype.is_floating_point or dtype.itemsize < 2:
            raise ValueError("fp8 is too coarse for a LoRA; choose float32, bfloat16 or float16.")
        if request.names != "comfyui":
            raise ValueError("A LoRA has ComfyUI's names; --names diffusers is for full files.")
        write_lora(request.out, trained_changes(trained, settings.lora), start.model, start.checkpoint, dtype)
        return
    request.out.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(request.out) as temporary:
        # its name is what the file written will say it is from
        whole = temporary / f"{request.run.resolve().name}-{checkpoint.name}.safetensors"
        _write_whole(whole, start, trained, settings.lora)
        base = None if request.form == "full" else part
        laid_over = checkpoint_paths(start.checkpoint)
        if base is not None and request.over == "start" and laid_over:
            base = temporary / f"{'+'.join(path.stem for path in laid_over)}.safetensors"
            _write_whole(base, start, {}, None)
        rank = DEFAULT_RANK if request.rank is None else request.rank
        conversion = Conversion(
            whole, request.out, request.names, request.dtype, request.form, base, rank, request.overwrite
        )
        convert(conversion, progress)


def _trained(checkpoint: Path) -> Mapping[str, Tensor]:
    """What a checkpoint holds of the denoiser, by diffusers' names (and peft's, of a LoRA)."""
    for name in (AVERAGE_FILE, DENOISER_FILE, FSDP_WHOLE):
        if (checkpoint / name).is_file():
            return read_weights(checkpoint / name)
    if (checkpoint / FSDP_SHARDS).is_dir():
        return _unsharded(checkpoint / FSDP_SHARDS)
    if (checkpoint / DEEPSPEED).is_dir():
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        return get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag=DEEPSPEED)
    raise FileNotFoundError(f"{checkpoint} holds no weights; go on from an earlier checkpoint.")


def _unsharded(folder: Path) -> dict[str, Tensor]:
    from torch.distributed.checkpoint import FileSystemReader, load

    reader = FileSystemReader(folder)
    shapes: Mapping[str, Any] = reader.read_metadata().state_dict_metadata  # of tensors alone, in a state dict
    tensors = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in shapes.items()}
    load(tensors, storage_reader=reader, no_dist=True)
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def trained_changes(trained: Mapping[str, Tensor], lora: LoraSettings) -> dict[str, LowRank]:
    """A trained LoRA, by peft's names, as changes by original names."""
    low_rank = {name: tensor for name, tensor in trained.items() if ".lora_" in name}
    layers = {name.partition(".lora_")[0] for name in low_rank}
    alphas = {f"{layer}.alpha": torch.tensor(lora.alpha) for layer in layers}
    changes = read_changes({**low_rank, **alphas}, ())
    return {name: change for name, change in changes.items() if isinstance(change, LowRank)}


def write_lora(
    out: Path,
    changes: Mapping[str, LowRank],
    model: str,
    checkpoint: Paths,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a LoRA that was trained, as a change of what it was trained over.

    Args:
        out: the .safetensors file.
        changes: by original names, from `trained_changes`.
        model: "mini" or the model folder.
        checkpoint: weights that were laid over it while the LoRA was trained.
        dtype: to store it in.
    """
    over = checkpoint_paths(checkpoint) or (Path(model),)
    rank = next(iter(changes.values())).up.shape[1]
    metadata = {
        "format": "pt",
        "rem.format": FORMAT_VERSION,
        "rem.form": "lora",
        "rem.rank": str(rank),
        "rem.base": " + ".join(path.name for path in over),
        KEY: _signature(*_began(model, checkpoint)).to_text(),
        "modelspec.title": out.stem,
    }
    tensors = {key: value for name, change in changes.items() for key, value in stored_change(name, change).items()}
    tensors = {name: value.float() if value.ndim == 0 else value.to(dtype) for name, value in tensors.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as path:
        _write(path, iter(sorted(tensors.items(), key=lambda item: -item[1].itemsize)), list(tensors), metadata)


def _write_whole(path: Path, start: Start, trained: Mapping[str, Tensor], lora: LoraSettings | None) -> None:
    """The denoiser the run has now, float32: the frozen weights are those it started from, and all are where nothing
    was trained."""
    began, laid_over = _began(start.model, start.checkpoint)
    changes = [overlay.changes(began) for overlay in laid_over.overlays]
    if lora is not None:
        trained_lora = trained_changes(trained, lora)
        changes.append({name_to_diffusers(name): change for name, change in trained_lora.items()})

    def weights() -> Iterator[tuple[str, Tensor]]:
        for name, entry in began.items():
            value = trained.get(name)
            if value is None:
                value = entry.read().float()
                for some in changes:
                    value = apply_change(value, some[name]) if name in some else value
            yield name, value.float()

    _write(path, weights(), list(began), {"format": "pt"})


def _began(model: str, checkpoint: Paths) -> tuple[dict[str, StoredTensor], Checkpoint]:
    """Whole weights that a training began with, by diffusers' names, and what was laid over them."""
    folder, laid_over = find_model_folder(model), open_checkpoint(checkpoint)
    part = folder / family_of(folder).denoiser
    return to_diffusers(laid_over.denoiser or open_state_dict(part)), laid_over


def _signature(began: Mapping[str, StoredTensor], laid_over: Checkpoint) -> BaseSignature:
    """Of what a run began with."""
    changes = [overlay.changes(began) for overlay in laid_over.overlays]

    def row(name: str, number: int) -> tuple[Tensor, torch.dtype]:
        name = name_to_diffusers(name)
        values = began[name].row(number).float()
        for some in changes:
            if name in some:
                values = values + change_row(some[name], number)
        return values, began[name].stored_dtype

    return sign_base(to_original(began), row)


def _write(path: Path, tensors: Iterator[tuple[str, Tensor]], names: list[str], metadata: dict[str, str]) -> None:
    with open(path, "wb") as file:
        writer = Writer(file, names, metadata)
        for name, tensor in tensors:
            writer.add(name, tensor.dtype, tensor.shape, [tensor])
        writer.finish()
