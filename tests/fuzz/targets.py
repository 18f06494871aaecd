"""A file to damage, the commands that read it, and the plate that they are given beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from mutations import BYTES, Mutation
from PIL import Image

import rem_engine.commands.cli

HEIGHT, WIDTH, FRAMES = 32, 48, 3
PICTURE = np.stack(
    [
        np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1)),
        np.tile(np.linspace(0, 1, HEIGHT)[:, None], (1, WIDTH)),
        np.full((HEIGHT, WIDTH), 0.25),
    ],
    axis=-1,
).astype(np.float32)
GREY = np.repeat(PICTURE[..., :1], 3, axis=-1)

Arguments = Callable[[Path, Path], list[str]]
"""(folder of the whole files, folder to write to) -> a command line."""


@dataclass(frozen=True)
class Target:
    """A file to damage.

    Attributes:
        path: of the file, below the folder of a kind's files.
        commands: that read it.
        mutations: what happens to it.
        main: whose command line.
    """

    path: str
    commands: Sequence[Arguments]
    mutations: Sequence[Mutation] = BYTES
    main: Callable[[Sequence[str]], int] = rem_engine.commands.cli.main


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: writes whole ones into a folder, and says what can be damaged of them.
        loads: whether the commands load a model from a folder, or have a stand-in.
        changed: the folder among the files that commands write to.
        named: whether whatever is wrong with a file is told by its name.
    """

    write: Callable[[Path, Mapping[str, Path]], list[Target]]
    loads: bool = False
    changed: str = ""
    named: bool = False


def case_of(kind: str, targets: Sequence[Target], number: int) -> tuple[Target, Arguments, Mutation, random.Random]:
    """What happens in a case: all that can be combined has its turn before anything has a second one."""
    choices = [choice for target in targets for choice in product([target], target.commands, target.mutations)]
    random.Random(kind).shuffle(choices)
    return *choices[number % len(choices)], random.Random(f"{kind} {number}")


# ---- commands


def as_shot(name: str, *options: str) -> Arguments:
    return lambda root, out: ["segment", str(root / name), "-p", "the red thing", "-o", str(out), *(options or _NPZ)]


def as_masks(name: str, shot: str = "plate", *options: str) -> Arguments:
    """Masks for frames of their number and size, which are written beside them."""
    return lambda root, out: ["matte", str(root / shot), "--masks", str(root / name), "-o", str(out), *options]


def converted(name: str) -> Arguments:
    return lambda root, out: ["convert", str(root / name), "-o", str(out / "o.safetensors")]


_NPZ = ("--write", "npz,masks")


def write_plate(root: Path, count: int = 1, height: int = HEIGHT, width: int = WIDTH) -> None:
    (root / "plate").mkdir()
    for number in range(count):
        moved = np.roll(PICTURE[:height, :width], 3 * number, axis=1)
        Image.fromarray(np.round(moved * 255).astype(np.uint8)).save(root / "plate" / f"p.{number + 1001}.png")
