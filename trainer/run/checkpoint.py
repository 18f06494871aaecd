"""Checkpoints of a run: each stands whole under its name or not at all; the last ones and the best are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, FiniteFloat
from safetensors.torch import load_file, save_file

from rem_engine.checkpoints import check
from rem_engine.input_files import told_as_damage
from rem_engine.whole_files import (
    meant_for,
    remove_leftovers,
    sync_folder,
    sync_tree,
    temporary_name,
    told_when_full,
    written_whole,
)

from .average import Average, trainable_parameters
from .records import read_record

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

DENOISER_FILE = "denoiser.safetensors"
"""The trained weights, float32, under diffusers' names; under FSDP and DeepSpeed their own files hold them instead."""
AVERAGE_FILE = "average.safetensors"
"""The moving average of the trained weights, where one is kept."""
_PROGRESS_FILE = "progress.json"
_GO_BACK = "remove that checkpoint's folder, and the run goes on from the one before"


FSDP_SHARDS = "pytorch_model_fsdp_0"
FSDP_WHOLE = "pytorch_model_fsdp.bin"
DEEPSPEED = "pytorch_model"
"""Where accelerate keeps the weights of a model that is sharded over processes."""


class _UnfitError(ValueError):
    """Weights that are not the run's: told as such, where the rest of a checkpoint is told as damage."""


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        step: optimizer steps done.
        score: of the evaluation after that step, its first figure; None where there was none.
        seconds: trained for, without loading and evaluating.
        processor_seconds: of all threads of this process in that time, which other work on a machine hardly moves.
    """

    step: Annotated[int, Field(ge=0)]
    score: FiniteFloat | None = None
    seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    processor_seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0


class Checkpoints:
    """The checkpoints of a run, a folder each, named by their step.

    Args:
        folder: holds them; made with the first.
        keep_last: how many of the newest stay, at least 1; the one of the highest score stays beside them.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self._keep_last = folder, keep_last

    def latest(self) -> Path | None:
        """The folder of the newest checkpoint, or None."""
        return max(self._all(), default=None)

    def best(self) -> Path | None:
        """The folder of the checkpoint with the highest score, the newest of equals, or None where none has one."""
        scored = [path for path in self._all() if read_progress(path).score is not None]
        return max(scored, key=lambda path: (read_progress(path).score, path), default=None)

    def save(self, accelerator: Accelerator, progress: TrainingProgress, average: Average | None) -> Path:
        """Write a checkpoint under a temporary name, give it its own, and remove those no longer kept.

        Every process calls this. The accelerator's models must have been given to `save_trainable_weights_only`.

        Raises:
            RuntimeError: the disk is full; what was half-written is removed, and the checkpoint before stays.
        """
        from accelerate.utils import broadcast_object_list

        before = self.latest()
        kept = "there is no checkpoint yet" if before is None else f"{before} is kept, and --resume goes on from it"
        path = self.folder / f"{progress.step:08d}"
        (temporary,) = broadcast_object_list([temporary_name(path)])  # one for all processes
        if accelerator.is_main_process:
            self._sweep()
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        try:
            with told_when_full(path, f"make room; {kept}"):
                accelerator.save_state(temporary)
                if accelerator.is_main_process:
                    if average is not None:
                        save_file(average.values, temporary / AVERAGE_FILE)
                    (temporary / _PROGRESS_FILE).write_text(json.dumps(asdict(progress)), encoding="utf-8")
            accelerator.wait_for_everyone()
        except BaseException:  # Ctrl-C too, and a full disk: what is half-written takes room
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if accelerator.is_main_process:
            sync_tree(temporary)
            if path.exists():
                _remove(path)
            temporary.replace(path)
            sync_folder(self.folder)
            self._prune()
        accelerator.wait_for_everyone()
        return path

    def rate(self, accelerator: Accelerator, progress: TrainingProgress) -> None:
        """Note the score of the checkpoint that was saved at this step, and remove those no longer kept."""
        if accelerator.is_main_process:
            path = self.folder / f"{progress.step:08d}" / _PROGRESS_FILE
            advice = f"make room; {path.parent} is kept without its score, and --resume goes on from it"
            with told_when_full(path, advice), written_whole(path) as temporary:
                temporary.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            self._prune()
        accelerator.wait_for_everyone()

    def load(self, accelerator: Accelerator, path: Path, average: Average | None) -> TrainingProgress:
        """Give the accelerator's model and optimizer, and the average, the state of a checkpoint; every process calls.

        Raises:
            ValueError: weights other than those that are trained, or damage.
        """
        _check_form(accelerator, path)
        with told_as_damage(f"{path} is damaged: {_GO_BACK}.", but=_UnfitError):
            _check_random_states(path, accelerator.process_index)
            accelerator.load_state(path)
        if average is not None:
            read_into(average.values, path / AVERAGE_FILE)
        return read_progress(path)

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if (path / _PROGRESS_FILE).is_file())

    def _prune(self) -> None:
        kept = {*self._all()[-self._keep_last :], self.best()}
        for path in self._all():
            if path not in kept:
                _remove(path)

    def _sweep(self) -> None:
        """Remove what a killed run was writing or removing."""
        for name in {meant_for(path.name) for path in self.folder.glob(".*.tmp")}:
            if name is not None:
                remove_leftovers(self.folder / name)


def _check_form(accelerator: Accelerator, path: Path) -> None:
    """Raise where a checkpoint was saved sharded and the model is not, or the other way round."""
    from accelerate import DistributedType

    forms = {DistributedType.FSDP: "FSDP", DistributedType.DEEPSPEED: "DeepSpeed"}
    now = forms.get(accelerator.distributed_type, "whole")
    if (path / FSDP_SHARDS).exists() or (path / FSDP_WHOLE).exists():
        saved = "FSDP"
    else:
        saved = "DeepSpeed" if (path / DEEPSPEED).is_dir() else "whole"
    if saved != now:
        as_saved = "as one model" if saved == "whole" else f"sharded by {saved}"
        raise ValueError(
            f"{path} was saved {as_saved}: go on in the same way, or export the run and begin another from that file "
            "by --checkpoint."
        )


def _check_random_states(path: Path, rank: int) -> None:
    """Raise where the random states of a process cannot be read, which accelerate passes over without a word.

    A process that the run did not have when it was saved has none.
    """
    from accelerate.utils.other import load

    file = path / f"random_states_{rank}.pkl"
    if rank == 0 or file.exists():
        load(file)


def read_progress(path: Path) -> TrainingProgress:
    """How far the run was when a checkpoint was written.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    return read_record(path / _PROGRESS_FILE, TrainingProgress, _GO_BACK)


def read_into(parameters: Mapping[str, Tensor], file: Path) -> None:
    """Give parameters, by name, the values that a file of a checkpoint has for them.

    Raises:
        ValueError: the file is damaged or missing, or holds other weights.
    """
    saved = read_weights(file)
    check(saved, {name: value.shape for name, value in parameters.items()}, str(file))
    for name, value in parameters.items():
        value.copy_(saved[name])


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights in a file of a checkpoint.

    Raises:
        ValueError: it is damaged or missing.
    """
    with told_as_damage(f"{file} is damaged or missing: {_GO_BACK}."):
        return load_file(file)  # under the very names it was saved by, whatever they look like


def save_trainable_weights_only(accelerator: Accelerator) -> None:
    """Have the accelerator's checkpoints hold the trainable weights alone, under the bare module's names.

    The frozen ones are the base's; with a LoRA they would be nearly all of every checkpoint. FSDP and DeepSpeed write
    their models themselves, whole.
    """

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        if not weights:  # FSDP and DeepSpeed have written theirs
            return
        weights.clear()
        if accelerator.is_main_process:
            parameters = trainable_parameters(accelerator.unwrap_model(models[0]))
            save_file({name: value.contiguous() for name, value in parameters.items()}, Path(folder) / DENOISER_FILE)

    def load(models: list[nn.Module], folder: str) -> None:
        if not models:
            return
        try:
            read_into(trainable_parameters(accelerator.unwrap_model(models.pop())), Path(folder) / DENOISER_FILE)
        except ValueError as error:
            raise _UnfitError(str(error)) from error

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _remove(path: Path) -> None:
    """Remove a checkpoint that, killed half-way, must not look whole."""
    aside = temporary_name(path)
    path.replace(aside)
    shutil.rmtree(aside)
