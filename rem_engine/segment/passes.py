"""Windows through the model: one after the other, or all of them stage by stage; on one device or on several."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..progress import Progress
from ..shelf import Shelf
from .model_frames import ModelFrames
from .other_device import OtherDevice
from .window_masks import WindowMasks
from .window_model import WindowModel
from .window_plan import WindowPlan
from .windows import Window

_log = logging.getLogger(__name__)

Masked = tuple[Window, Window | None, Tensor, int]
"""A window, the one after it, the first one's masks [P,T,C,h,w], and how many prompts went together."""


@dataclass
class ShotOnItsWay:
    """A shot on its way to the model.

    Attributes:
        pixels: its frames at the model's size.
        windows: those still to come, with their numbers.
        first_frame: windows that end before it are left out.
        stop: about where the last window ends that is wanted.
        frame_count: of the shot.
        made: masks that are made already, of some of its windows.
    """

    pixels: ModelFrames
    windows: Iterator[tuple[int, Window]]
    first_frame: int
    stop: int
    frame_count: int
    made: WindowMasks | None = None


class Passes:
    """Takes the windows of shots through a model.

    Args:
        model: on the first device.
        plan: which windows, and of what noise.
        others: the same model on further devices.
    """

    def __init__(self, model: WindowModel, plan: WindowPlan, others: Sequence[OtherDevice]) -> None:
        self._model, self._plan, self._others = model, plan, others
        self._staged = any([model.streams, *(other.streams for other in others)])

    def masks_of(self, shot: ShotOnItsWay, prompt_embeds: Tensor, progress: Progress) -> Iterator[Masked]:
        """Masks of all windows of a shot, in their order."""
        return (self._stage_by_stage if self._staged else self._window_by_window)(shot, prompt_embeds, progress)

    def _window_by_window(self, shot: ShotOnItsWay, prompt_embeds: Tensor, progress: Progress) -> Iterator[Masked]:
        """Every window through the whole model before the next one is read; of several devices each has one."""
        count = len(prompt_embeds)
        steps = _Steps(2 + count, 0, progress)
        together = count
        current = self._next_window(shot)
        while current is not None:
            group = self._read_group(shot, current, count, steps)
            calls = [
                (inputs, prompt_embeds, self._seeds(number, count, shot), _frames_of(window))
                for number, window, inputs in group
                if inputs is not None
            ]
            computed = iter(self._on_devices("masks", calls, steps, 2 + count))
            current = self._next_window(shot)
            followings = [*(window for _, window, _ in group[1:]), current and current[1]]
            for (number, window, inputs), following in zip(group, followings, strict=True):
                masks, in_pass = self._made(shot, number, window, count) if inputs is None else next(computed)
                together = min(together, in_pass)
                yield window, following, masks, together

    def _stage_by_stage(self, shot: ShotOnItsWay, prompt_embeds: Tensor, progress: Progress) -> Iterator[Masked]:
        """All windows encoded, then all predicted for one reading of the denoiser's weights, then decoded."""
        count, devices = len(prompt_embeds), 1 + len(self._others)
        steps = _Steps(1 + count, self._model.steps_of_all, progress)
        windows: list[tuple[int, Window, bool]] = []  # and whether it goes through the model
        with Shelf() as latents:
            while (current := self._next_window(shot)) is not None:
                group = self._read_group(shot, current, count, steps)
                windows += ((number, window, inputs is not None) for number, window, inputs in group)
                calls = [(inputs, _frames_of(window)) for _, window, inputs in group if inputs is not None]
                for encoded in self._on_devices("encode", calls, steps, 1):
                    latents.append(encoded)
            shares = [range(first, len(latents), devices) for first in range(min(devices, len(latents)))]
            of_shares = [((latents[number] for number in share), prompt_embeds) for share in shares]
            predicted = [iter(made) for made in self._on_devices("predict_all", of_shares, steps, 0)]
        computed = self._decoded([window for _, window, is_new in windows if is_new], predicted, count, steps)
        followings = [*(window for _, window, _ in windows[1:]), None]
        for (number, window, is_new), following in zip(windows, followings):
            masks = next(computed) if is_new else self._made(shot, number, window, count)[0]
            yield window, following, masks, 1

    def _decoded(
        self, windows: Sequence[Window], predicted: Sequence[Iterator[Tensor]], count: int, steps: _Steps
    ) -> Iterator[Tensor]:
        """Masks of windows whose mask latents devices have, each those of every n-th window."""
        devices = len(predicted)
        for first in range(0, len(windows), max(devices, 1)):
            group = windows[first : first + devices]
            calls = [(next(mask_latents), _frames_of(window)) for mask_latents, window in zip(predicted, group)]
            yield from self._on_devices("decode", calls, steps, count)

    def _on_devices(self, method: str, calls: Sequence[tuple[Any, ...]], steps: _Steps, per_call: int) -> list[Any]:
        """What a method of `WindowModel` gives for each call: the first here, each other one on a device of its own.

        Args:
            calls: their arguments, of as many calls as there are devices at most.
            steps, per_call: told how far it is; how many steps a call elsewhere stands for.
        """
        if not calls:
            return []
        begun = {
            number: other.begin(method, *call) for number, (other, call) in enumerate(zip(self._others, calls[1:]))
        }
        try:
            made = [getattr(self._model, method)(*calls[0], steps.done)]
            for number, other in enumerate(self._others[: len(calls) - 1]):
                with self._model.timed("predict"):
                    made.append(_on_the_device_of(made[0], other.result(begun.pop(number))))
                for _ in range(per_call):
                    steps.done()
        except BaseException:
            for number, call in begun.items():
                self._others[number].forget(call)
            raise
        return made

    def _next_window(self, shot: ShotOnItsWay) -> tuple[int, Window] | None:
        with self._model.timed("read"):
            return next((item for item in shot.windows if item[1].stop > shot.first_frame), None)

    def _read_group(
        self, shot: ShotOnItsWay, current: tuple[int, Window], count: int, steps: _Steps
    ) -> list[tuple[int, Window, Tensor | None]]:
        """A window and those after it, one for each device: their numbers, and their frames [T,3,h,w], None where masks
        of all `count` prompts are made already."""
        group = [(*current, self._read(shot, current, count, steps))]
        while len(group) <= len(self._others) and (following := self._next_window(shot)) is not None:
            group.append((*following, self._read(shot, following, count, steps)))
        return group

    def _read(self, shot: ShotOnItsWay, current: tuple[int, Window], count: int, steps: _Steps) -> Tensor | None:
        number, window = current
        steps.expect(max(self._plan.windows_left(window, shot.stop), 1))
        with self._model.timed("read"):
            if shot.made is not None and shot.made.has(window, self._seeds(number, count, shot)):
                shot.pixels.skip(window)
                steps.skip_window()
                return None
            inputs = shot.pixels.window(window)
        _log.debug("window %d: %s at %dx%d", number, _frames_of(window), *inputs.shape[2:])
        return inputs

    def _made(self, shot: ShotOnItsWay, number: int, window: Window, count: int) -> tuple[Tensor, int]:
        """Masks that are made already, and how many prompts went together."""
        assert shot.made is not None
        with self._model.timed("read"):
            return shot.made.read(window, self._seeds(number, count, shot))

    def _seeds(self, number: int, count: int, shot: ShotOnItsWay) -> list[int]:
        return self._plan.noise_seeds(number, count, shot.frame_count)


class _Steps:
    """Counts finished stages."""

    def __init__(self, per_window: int, beside: int, progress: Progress) -> None:
        self._per_window, self._beside, self._progress = per_window, beside, progress
        self._count = self._total = self._windows = 0

    def expect(self, windows: int) -> None:
        """A window begins, the first of so many that are still to come."""
        self._total = (self._windows + windows) * self._per_window + self._beside
        self._windows += 1

    def skip_window(self) -> None:
        """A window takes none of its stages."""
        for _ in range(self._per_window):
            self.done()

    def done(self) -> None:
        self._count += 1
        self._progress.update("steps", self._count, self._total)


def _frames_of(window: Window) -> str:
    return f"frames {window.start} to {window.stop - 1}"


def _on_the_device_of(first: Any, other: Any) -> Any:
    """Masks that came from another device's process, beside those of the first, with which they are cross-faded."""
    if isinstance(first, tuple):
        return tuple(map(_on_the_device_of, first, other))
    return other.to(first.device) if isinstance(first, Tensor) else other
