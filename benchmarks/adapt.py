"""What `rem-trainer adapt` gains on a look that REM-mini does not know, and what it loses on the one it knows.

    python -m benchmarks.adapt --out build/adapt --old
    python -m benchmarks.adapt --out build/adapt-lora --old --lora

Twenty rendered shots with their colours inverted are the new look; `--old` mixes in twenty as REM-mini was trained on.
REM-mini before and after is scored on shots of both looks that neither saw. Sentences name the colours that things had
before they were inverted, so that words and picture have to be brought together anew.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from rem_engine import load_segmenter
from rem_engine.backbones.base import WAN
from rem_engine.backbones.configuration import read_defaults
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.pixels import to_uint8
from trainer.adapt.adapt import Adaptation, adapt
from trainer.adapt.score import score_shots
from trainer.synth.backgrounds import procedural
from trainer.synth.scene import Expression, describe_absent, sample_shot

SHOTS, SCORED = 20, 20


def write_shots(folder: Path, count: int, seed: int, inverted: bool) -> Path:
    """Rendered shots in the layout of users' own footage, of REM-mini's length and size.

    Args:
        folder: to write to; one that is there is taken as it is.
        count: of shots.
        seed: the same gives the same shots.
        inverted: their colours.
    """
    if folder.exists():
        return folder
    trained = read_defaults(MINI_FOLDER, WAN)
    height, width = trained["default_size"]
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        shot = sample_shot(rng, procedural, trained["default_window"], height, width, False)
        spoken = [*shot.expressions, Expression(describe_absent(rng, shot.things), None)]
        place = folder / f"shot{index:03d}"
        (place / "frames").mkdir(parents=True)
        for t, frame in enumerate(to_uint8(shot.frames)):
            frame = 255 - frame if inverted else frame
            cv2.imwrite(str(place / "frames" / f"{t:04d}.png"), np.ascontiguousarray(frame[..., ::-1]))
        for number in {each.target for each in spoken if each.target is not None}:
            (place / "masks" / f"thing{number}").mkdir(parents=True)
            for t, matte in enumerate(shot.mattes[number]):
                mask = (matte > 0.5).astype(np.uint8) * 255
                cv2.imwrite(str(place / "masks" / f"thing{number}" / f"{t:04d}.png"), mask)
        lines = [f"{'-' if each.target is None else f'thing{each.target}'}: {each.text}" for each in spoken]
        (place / "prompts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="working folder")
    parser.add_argument("--old", action="store_true", help="mix in shots of the look that REM-mini knows")
    parser.add_argument("--lora", action="store_true", help="train a LoRA in place of the weights themselves")
    arguments = parser.parse_args()
    new = write_shots(arguments.out / "new", SHOTS, 11, True)
    old = write_shots(arguments.out / "old", SHOTS, 12, False) if arguments.old else None
    sets = {
        "new look": write_shots(arguments.out / "scored_new", SCORED, 21, True),
        "old look": write_shots(arguments.out / "scored_old", SCORED, 22, False),
    }
    look = arguments.out / "look.safetensors"
    began, used = time.monotonic(), time.process_time()
    adapt(Adaptation(new, look, old=old, form="lora" if arguments.lora else "full", work=arguments.out / "run"))
    report: dict[str, object] = {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "processor_minutes": round((time.process_time() - used) / 60, 1),
    }
    for when, checkpoint in (("before", None), ("after", (look,))):
        segmenter = load_segmenter("mini", checkpoint=checkpoint)
        report[when] = {name: score_shots(segmenter, folder) for name, folder in sets.items()}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
