"""What runs and trainings keep of themselves, lists of prompts, and listings of datasets, all whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mutations import (
    BYTES,
    float_values,
    json_mutation,
    safetensors_header,
    safetensors_metadata,
    text_mutation,
    truncated_text,
    zip_members,
)
from targets import FRAMES, PICTURE, Arguments, Target, as_masks, write_plate

import rem_engine.commands.cli
import trainer.commands.cli


def write_npz(root: Path, _: Mapping[str, Path]) -> list[Target]:
    write_plate(root, FRAMES)
    soft = np.stack([np.roll(PICTURE[..., 0], 3 * number, axis=1) for number in range(FRAMES)])
    np.savez_compressed(root / "packed.npz", soft=soft)
    np.savez(root / "soft.npz", soft=soft)
    mutations = (*BYTES, *[zip_members] * 4, float_values)
    return [Target(name, [as_masks(name)], mutations) for name in ("soft.npz", "packed.npz")]


def write_run(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """A whole run, and one that was stopped; each is gone on with, added to, and taken masks from."""
    write_plate(root, FRAMES)
    main, plate = rem_engine.commands.cli.main, str(root / "plate")
    main(["segment", plate, "-p", "one: the red thing", "-o", str(root / "run"), "--write", "soft,alpha,exr"])
    main(["segment", plate, "-p", "two: the red thing", "-o", str(root / "run"), "--write", "soft"])
    _stopped(root, ["segment", plate, "-p", "three: the red thing", "-o", str(root / "run"), "--write", "soft,png16"])
    same = ("--write", "soft,png16")
    into_run = [
        lambda root, out: ["segment", plate, "-p", "three: the red thing", "-o", str(root / "run"), *same],
        lambda root, out: ["segment", plate, "-p", "two: the smoke", "-o", str(root / "run"), "--write", "soft"],
    ]
    mutations = (truncated_text, text_mutation, *[json_mutation] * 6)
    masks = as_masks("run")
    return [
        Target("run/run.json", [*into_run, masks], mutations),
        Target("run/.unfinished.json", into_run, mutations),
    ]


def _stopped(root: Path, arguments: list[str]) -> None:
    """Run a command that is stopped after the masks of its second frame."""
    from rem_engine.run.folder import RunFolder

    write = RunFolder.write_frame

    def stops(folder: RunFolder, *given: Any) -> None:
        if folder.frames_done == 2:
            raise KeyboardInterrupt
        write(folder, *given)

    RunFolder.write_frame = stops
    try:
        assert rem_engine.commands.cli.main(arguments) == 130
    finally:
        RunFolder.write_frame = write
    assert (root / "run" / ".unfinished.json").is_file()


def write_prompts(root: Path, _: Mapping[str, Path]) -> list[Target]:
    write_plate(root)
    lines = "smoke: the smoke | -the steam\n\nthe red thing\nfire: the fire at 10:30 | -the lamp | -the candle\n"
    (root / "prompts.txt").write_text(lines, encoding="utf-8-sig")

    def command(root: Path, out: Path) -> list[str]:
        prompts = str(root / "prompts.txt")
        return ["segment", str(root / "plate"), "--prompts", prompts, "-o", str(out), "--write", "masks,exr"]

    return [Target("prompts.txt", [command], (*BYTES, *[text_mutation] * 6))]


# ---- training


def write_training(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """Settings that a training is started by, all that a run keeps of itself, and its caches."""
    from runs import run, write_settings, write_shots

    wan = Path(shutil.copytree(models["wan"], root / "wan"))
    shots = write_shots(root / "shots", 2)
    settings = write_settings(root / "settings.yaml", shots, steps=2, ema=0.9)
    preset = {**json.loads(json.dumps(_yaml(settings))), "steps": 3}
    (root / "preset.yaml").write_text(json.dumps(preset))  # JSON is YAML
    run(wan, settings, root / "run")
    last = next((root / "run" / "checkpoints").iterdir()).relative_to(root)

    def train(settings: str, folder: str, *options: str) -> Arguments:
        def arguments(root: Path, out: Path) -> list[str]:
            where = out / "new" if folder == "new" else root / folder
            return ["train", str(root / settings), "--model", str(wan), "--out", str(where), *options]

        return arguments

    def export(root: Path, out: Path) -> list[str]:
        return ["export", str(root / "run"), "-o", str(out / "o.safetensors")]

    more = train("preset.yaml", "new", "--no-cache")
    resume = train("settings.yaml", "run", "--resume")
    cached = train("preset.yaml", "new", "--cache", str(root / "run" / "cache"))
    main = trainer.commands.cli.main
    text = (truncated_text, text_mutation, *[json_mutation] * 4)
    weights = (*BYTES, safetensors_header, float_values)
    caches = [path.relative_to(root) for path in (root / "run" / "cache").rglob("*.safetensors")]
    return [
        Target("preset.yaml", [more], (*text, *text), main),
        Target("run/settings.yaml", [resume, export], (truncated_text, text_mutation), main),
        Target("run/start.json", [resume, export], text, main),
        Target(f"{last}/progress.json", [resume, export], text, main),
        Target(f"{last}/denoiser.safetensors", [resume], weights, main),
        Target(f"{last}/average.safetensors", [resume, export], weights, main),
        *(
            Target(f"{last}/{name}", [resume], (*BYTES, zip_members), main)
            for name in ("optimizer.bin", "random_states_0.pkl")
        ),
        *(Target(str(path), [cached], (*BYTES, safetensors_header, safetensors_metadata), main) for path in caches),
    ]


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text())


# ---- datasets


def write_datasets(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """The listings of every layout of datasets; `score` reads a split's of rendered shots too."""
    from miniatures import write_folder, write_mevis, write_ref_ytvos, write_refcoco
    from runs import write_shots

    write_mevis(root / "mevis")
    write_ref_ytvos(root / "ytvos")
    write_refcoco(root / "refcoco")
    write_folder(root / "own")
    write_shots(root / "synth", 2)
    main = trainer.commands.cli.main
    mutations = (truncated_text, text_mutation, *[json_mutation] * 5)

    def check(name: str, *options: str) -> Arguments:
        return lambda root, out: ["check-data", str(root / name), *options]

    def score(root: Path, out: Path) -> list[str]:
        return ["score", "--data", str(root / "synth")]

    return [
        Target("mevis/train/meta_expressions.json", [check("mevis", "--kind", "mevis")], mutations, main),
        Target("mevis/train/mask_dict.json", [check("mevis", "--kind", "mevis")], mutations, main),
        Target(
            "ytvos/meta_expressions/train/meta_expressions.json",
            [check("ytvos", "--kind", "ref_ytvos")],
            mutations,
            main,
        ),
        Target(
            "refcoco/refcoco/instances_refcoco_train.json",
            [check("refcoco", "--kind", "refcoco", "--name", "refcoco")],
            mutations,
            main,
        ),
        Target("synth/synth.json", [check("synth", "--kind", "synth"), score], mutations, main),
        Target("own/sh010/prompts.txt", [check("own")], (*BYTES, text_mutation), main),
    ]
