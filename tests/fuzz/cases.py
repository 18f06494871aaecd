"""Cases of a kind of file: from the damage to what a command makes of it.

`python tests/fuzz/cases.py KIND --first 17 --count 1` runs one again, `--count 2000` searches on; `--keep` leaves the
damaged files.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as pyproject.toml has it for tests
    _TESTS = Path(__file__).parents[1]
    sys.path[:0] = [str(_TESTS.parent), str(_TESTS), str(_TESTS / "trainer"), str(_TESTS / "rem_engine")]

import numpy as np
from forked import Case, Outcome, run_in_fork
from kinds import KINDS
from red_model import RedBackbone
from targets import Target, case_of

import rem_engine
import rem_engine.segment.load
from rem_engine import Segmenter, SegmentSettings
from rem_engine.checkpoints import read_state_dict


def run_cases(kind: str, models: Mapping[str, Path], numbers: Sequence[int], scratch: Path) -> list[Outcome]:
    """Damage files, and run what reads them.

    Args:
        kind: one of `KINDS`.
        models: folders of tiny models, "wan" and "modelscope".
        numbers: of the cases.
        scratch: an empty folder.

    Raises:
        RuntimeError: a command refused a file that was whole.
    """
    told = scratch / "told"
    told.mkdir()
    return run_in_fork(numbers, lambda: _prepare(kind, models, scratch), told)


def _prepare(kind: str, models: Mapping[str, Path], scratch: Path) -> Callable[[int], Case]:
    """Write whole files, and make sure that commands take them."""
    root, kept, out = scratch / "files", scratch / "kept", scratch / "out"
    for folder in (root, kept, out):
        shutil.rmtree(folder, ignore_errors=True)
    root.mkdir()
    if not KINDS[kind].loads:
        _stand_in_for_models()
    targets = KINDS[kind].write(root, models)
    _take_no_training_step()
    changed = KINDS[kind].changed
    if changed:
        shutil.copytree(root / changed, kept)

    def fresh() -> None:
        if changed:
            shutil.rmtree(root / changed)
            shutil.copytree(kept, root / changed)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    for target in targets:
        for command in target.commands:
            fresh()
            arguments = command(root, out)
            if target.main(arguments) not in (0, 130):
                raise AssertionError(f"{arguments} of files that are whole")

    whole = {target.path: (root / target.path).read_bytes() for target in targets}

    def prepared(number: int) -> Case:
        fresh()
        for path, data in whole.items():
            (root / path).write_bytes(data)
        target, command, mutation, draw = case_of(kind, targets, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that an archive has twice
            (root / target.path).write_bytes(mutation(whole[target.path], draw))
        what = f"{target.path}, {mutation.__name__}, {' '.join(command(root, out))}"
        name = Path(target.path).name if KINDS[kind].named else ""

        def look(code: int, said: str) -> str:
            return _looked(root, out, code) or ("" if code == 0 or name in said else f"did not name {name}")

        return what, lambda: _ended(target, command(root, out)), look

    return prepared


def _ended(target: Target, arguments: Sequence[str]) -> int:
    code = target.main(arguments)
    return 0 if code == 130 else code  # a training that has read all, see `_take_no_training_step`


def _looked(root: Path, out: Path, code: int) -> str:
    """What is wrong with the files that a command left."""
    half = [path.name for folder in (root, out) for path in folder.rglob("*.tmp")]
    if half:
        return f"left {half}"
    if code == 0:
        for file in (*root.rglob("soft.npz"), *out.rglob("soft.npz")):
            if file.parent != root and not np.isfinite(np.load(file)["soft"]).all():
                return f"{file.name} holds values that are not finite"
        for file in out.rglob("*.safetensors"):
            if not all(tensor.isfinite().all() for tensor in read_state_dict(file).values()):
                return f"{file.name} holds values that are not finite"
    return ""


def _stand_in_for_models() -> None:
    def load(model: str, **options: Any) -> Segmenter:
        names = ("protocol", "size", "window", "overlap", "cuts", "keep_aspect", "seed")
        return Segmenter(RedBackbone(), SegmentSettings(**{name: options[name] for name in names if name in options}))

    rem_engine.segment.load.load_segmenter = rem_engine.load_segmenter = load


def _take_no_training_step() -> None:
    """A training whose first batch was read is stopped: it would take as long as its settings say."""
    from trainer.run.loop import TrainingLoop

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt("enough")

    TrainingLoop._step = stopped


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args()
    from tiny_models import write_tiny_modelscope, write_tiny_wan

    scratch = options.keep or Path(tempfile.mkdtemp())
    models = {name: scratch / f"tiny_{name}" for name in ("wan", "modelscope")}
    if KINDS[options.kind].loads:
        write_tiny_wan(models["wan"])
        write_tiny_modelscope(models["modelscope"])
    try:
        outcomes = run_cases(options.kind, models, range(options.first, options.first + options.count), scratch)
    finally:
        if not options.keep:
            shutil.rmtree(scratch)
    faults = [outcome for outcome in outcomes if outcome.fault]
    for outcome in faults:
        print(f"---- case {outcome.case}, {outcome.what}, {outcome.seconds} s\n{outcome.fault}")
    refused = sum(outcome.code == 2 for outcome in outcomes)
    print(f"{len(faults)} faults in {len(outcomes)} cases, {refused} of them refused")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(_main())
