"""The ablation beside the paper's: writes docs/ablation.md and docs/images/ablation.png.

    python -m trainer ablate --preset mini --out runs/ablation --jobs 2
    python -m trainer ablate --preset mini --variants rem,cnn,mlp --steps 1000 --out runs/longer --jobs 2
    python -m benchmarks.ablation runs/ablation --longer runs/longer

Takes what is done of the runs in the first folder, also while others are under way. The section "In short" is written
by hand: read it again when the figures change.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.ablation.report import MEASURES, Figure, draw, table
from trainer.ablation.runs import Ablation, AblationRun
from trainer.ablation.variants import VARIANTS

ROOT = Path(__file__).parents[1]

PAPER: Mapping[str, tuple[str, float, float]] = {
    "rem": ("512", 63.5, 40.0),
    "rgb": ("256", 58.4, 31.6),
    "rgb_tuned": ("256", 60.4, 32.4),
    "cnn": ("512", 59.6, 29.4),
    "mlp": ("512", 59.3, 33.1),
}
"""REM's ablation on ModelScope: side in pixels, J&F on Ref-YTVOS and J on Ref-VPS, percent (the paper's table)."""

COMPARED = (("rem", "rgb"), ("rem", "rgb_tuned"), ("rem", "cnn"), ("rem", "mlp"), ("rgb_tuned", "rgb"), ("cnn", "mlp"))
"""Pairs of which both have a row in the paper."""
OWN = (("rem", "features"), ("rem", "scratch"), ("rem", "timestep"))
"""Pairs of which the second has none."""

STEP_SECONDS: Mapping[str, float] = {"rem": 0.56, "cnn": 0.89, "mlp": 0.57, "rgb": 1.57, "rgb_tuned": 1.87}
"""Seconds a step on a core of its own, 2.4 GHz without matrix units; means of two to four rounds of 20 steps."""

PAGE = """\
# The ablation, in miniature

REM predicts the latents of a mask and compares latents. The paper asks what that is worth, against comparing
pixels, and against new heads in place of the VAE's decoder. Here every such choice is a switch of the trainer's
one objective (`objective` in the settings, for `python -m trainer train` too), and one command runs them all:

```
python -m trainer ablate --preset mini --out runs/ablation --jobs 2
python -m trainer ablate --preset mini --variants {longer} --steps {longer_steps} --out runs/longer --jobs 2
python -m benchmarks.ablation runs/ablation --longer runs/longer      # writes this page
```

| variant | settings |
|---|---|
{variants}

Every run but those from scratch starts from REM-mini's text-to-video weights, and takes {steps} steps of
{batch} clips of {frames} frames at {size} (AdamW, learning rate {rate}, half a cosine) on {shots} rendered
shots; runs of one seed see the same batches. Scored are {scored} other shots a split ({seen} sentences and
{unseen}), by `trainer/synth/score.py`: *seen* and *unseen* combinations of words, *processes* (smoke, fire, rain,
...) of the seen split, and how often the mask lies on the thing that was named (referring accuracy). The
settings are in `trainer/presets/ablation_mini.yaml`. A run that was broken off goes on from its checkpoint, and
what is done is kept.

## In short

- **By equal steps the paper's order hardly shows.** REM is ahead of the MLP head on seen sentences, level with the CNN
  head, and level with or a little behind supervision in pixels, which gets more out of a step.
- **By equal time it shows.** A step in latent space needs no decoder, and takes about a third of the time. With as much
  time or less, REM is ahead of both RGB rows and of both heads, on seen sentences with every seed, and on processes
  with every seed but one against the CNN head.
- **One place disagrees either way:** on processes the paper has the MLP head above the CNN head, and here it is below.
- Timestep 0 is far ahead of 500. Text-to-video weights, which are weak here, gain 0.02 over random ones on seen
  sentences and nothing on processes. Frozen features with a new head are nowhere sure, and at their best threshold
  behind all but timestep 500.

## Results

Mean and sample standard deviation over seeds ({counts}). A mask is where the soft mask passes 0.5, as in the paper; a
J of 0 says that it did nowhere within the budget, not that nothing was learned. What a run knows of *where*, however
unsure it still is, shows at its best threshold: the one of 0.05, 0.10, ... 0.95 that gives all of the split's
sentences the highest J together, chosen on those very shots.

![J of every variant](images/ablation.png)

{table}
{still_open}Equal budgets are equal steps and samples. Time is not equal: pixels cost a pass through the VAE's
decoder, forwards and back, in every step. The last column is of two runs side by side on two CPU cores shared
with other work, so compare it loosely.

## Beside the paper

The paper's ablation is on ModelScope-1.4B. Its RGB rows are at 256 pixels and the others at 512; ours are all
at {size}.

| | paper: pixels | Ref-YTVOS J&F | Ref-VPS J | here: J, seen | J, unseen | J, processes |
|---|---|---|---|---|---|---|
{beside}

In which order? A difference agrees where it has the paper's sign with every seed, and is undecided where seeds
differ.

| | paper: Ref-YTVOS, Ref-VPS | here: J, seen | | J, processes | |
|---|---|---|---|---|---|
{compared}

The same with every run at its best threshold:

| | paper: Ref-YTVOS, Ref-VPS | here: J, seen | | J, processes | |
|---|---|---|---|---|---|
{compared_best}

Variants without a row in that table:

| | J, seen | J, unseen | J, processes | J, seen, best threshold |
|---|---|---|---|---|
{own}

### At about equal time

On a core of its own a step takes {seconds}.
So {longer_steps:,} steps without a pass through the VAE's decoder take about {longer_time} s, and {steps} with one
{time} s:

| | steps | J, seen | J, unseen | J, processes | J, seen, best threshold | J, processes, best threshold |
|---|---|---|---|---|---|---|
{by_time}

| | paper: Ref-YTVOS, Ref-VPS | here: J, seen | | J, processes | |
|---|---|---|---|---|---|
{compared_by_time}

## What the miniature cannot tell

- **How large a difference is.** The model has 7 million parameters, the world eight shapes and six processes,
  and training ends early, after {clips} clips at {size}: what differs is mostly how soon a variant begins to
  find things. REM-mini itself is trained on many times as many, at 96x96.
- **Small differences.** The deviation is over seeds of training; all are scored on the same few shots, and
  other shots would move every figure.
- **The worth of a strong base.** Its text-to-video training is 700 steps on the same rendered world. *From
  scratch* and the frozen features stand against that, not against Wan2.1 or ModelScope, which have seen the
  world.
- **The worth of a VAE that has never seen masks.** REM-mini's was trained on mattes too (they come back with J
  0.92), which leaves a tuned decoder little to gain, and helps latent supervision.
- **The worth of the paper's own heads.** The sizes of ours are our choice (`trainer/model/decoders.py`), and they and
  the RGB rows are trained by squared error. A loss made for segmentation might serve them better.
- **The cost at 512 pixels,** which is where latent supervision saves most: there is no decoder in its step.
"""


@dataclass(frozen=True)
class Difference:
    """A measure of one variant less that of another, seed by seed: both see the same batches."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]], first: str, second: str, measure: str) -> Difference:
        split, name = MEASURES[measure]
        found = {(each["variant"], each["seed"]): each["scores"][split].get(name) for each in results}
        seeds = sorted({seed for _, seed in found})
        pairs = [(found.get((first, seed)), found.get((second, seed))) for seed in seeds]
        return cls(tuple(one - other for one, other in pairs if one is not None and other is not None))

    def __str__(self) -> str:
        if not self.values:
            return "open"
        figure = Figure.of(self.values)
        return f"{figure.mean:+.3f}" + ("" if figure.deviation is None else f" ± {figure.deviation:.3f}")

    def verdict(self, sign: float) -> str:
        """Whether every seed has the sign of the paper's difference, none has it, or some."""
        alike = [value * sign > 0 for value in self.values]
        if not alike:
            return "open"
        word = "agrees" if all(alike) else "undecided" if any(alike) else "disagrees"
        return f"{word} ({sum(alike)} of {len(alike)} seed{'s' if len(alike) > 1 else ''})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder that `python -m trainer ablate --out` wrote")
    parser.add_argument(
        "--longer", type=Path, required=True, help="folder of the variants rem, cnn and mlp with more steps"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write to (docs)")
    arguments = parser.parse_args()
    ablation = Ablation(arguments.runs)
    runs = [
        AblationRun(ablation, variant, seed) for variant in ablation.variants for seed in range(1, ablation.seeds + 1)
    ]
    results = [result for run in runs if (result := run.result()) is not None]
    if not results:
        raise SystemExit(f"error: {arguments.runs} holds no result; run `python -m trainer ablate` first.")
    (arguments.docs / "images").mkdir(parents=True, exist_ok=True)
    draw(results).save(arguments.docs / "images" / "ablation.png", optimize=True)
    text = describe(ablation, results, json.loads((arguments.longer / "results.json").read_text(encoding="utf-8")))
    (arguments.docs / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def describe(ablation: Ablation, results: Sequence[Mapping[str, Any]], longer: Sequence[Mapping[str, Any]]) -> str:
    """docs/ablation.md, of results of all variants, and of some with more steps."""
    settings = ablation.settings("rem", 1)
    stream, (height, width) = settings.streams[0], settings.size
    missing = len(ablation.variants) * ablation.seeds - len(results)
    names = tuple(dict.fromkeys(result["variant"] for result in longer))
    others = tuple(name for name in PAPER if name not in names)
    by_time = [*longer, *(result for name in others for result in _of(results, name))]
    still_open = f"**{missing} of {len(results) + missing} runs are not done yet;** what they would say is open.\n\n"
    return PAGE.format(
        variants="\n".join(f"| `{name}`: {v.title} | {_settings(v.overrides)} |" for name, v in VARIANTS.items()),
        steps=settings.steps,
        batch=stream.batch,
        frames=stream.frames,
        size=f"{width}x{height}",
        rate=f"{settings.optim.lr:g}",
        shots=ablation.train_shots,
        scored=ablation.scored_shots,
        seen=results[0]["scores"]["seen"]["expressions"],
        unseen=results[0]["scores"]["unseen"]["expressions"],
        clips=f"{settings.steps * stream.batch:,}",
        counts=_counts(results),
        table=table(results),
        still_open=still_open if missing else "",
        beside="\n".join(_beside(results, name) for name in PAPER),
        compared="\n".join(_compared(results, *pair) for pair in COMPARED),
        compared_best="\n".join(_compared(results, *pair, at=", best threshold") for pair in COMPARED),
        own="\n".join(_own(results, *pair) for pair in OWN),
        longer=",".join(names),
        longer_steps=longer[0]["steps"],
        seconds=", ".join(f"{seconds} s (`{name}`)" for name, seconds in STEP_SECONDS.items()),
        longer_time=_together(names, longer[0]["steps"]),
        time=_together(others, settings.steps),
        by_time="\n".join(_by_time(_of(by_time, name)) for name in PAPER),
        compared_by_time="\n".join(_compared(by_time, *pair) for pair in COMPARED if pair[0] in names),
    )


def _settings(overrides: Mapping[str, Any]) -> str:
    values = (f"`{name.removeprefix('objective.')}: {value}`" for name, value in overrides.items())
    return ", ".join(values) or "the defaults"


def _counts(results: Sequence[Mapping[str, Any]]) -> str:
    counts = [sum(result["variant"] == name for result in results) for name in VARIANTS]
    low, high = min(count for count in counts if count), max(counts)
    number = str(high) if low == high else f"{low} to {high}"
    return f"{number} a variant" if all(counts) else f"{number} of each variant that is done so far"


def _beside(results: Sequence[Mapping[str, Any]], name: str) -> str:
    side, youtube, processes = PAPER[name]
    own = _of(results, name)
    cells = _cells(own, ("J, seen", "J, unseen", "J, processes")) if own else ["open"] * 3
    return f"| {VARIANTS[name].title} | {side} | {youtube} | {processes} | {' | '.join(cells)} |"


def _compared(results: Sequence[Mapping[str, Any]], first: str, second: str, at: str = "") -> str:
    (_, youtube, processes), (_, other_youtube, other_processes) = PAPER[first], PAPER[second]
    by = (youtube - other_youtube, processes - other_processes)
    cells = []
    for measure, sign in zip(("J, seen", "J, processes"), by):
        difference = Difference.of(results, first, second, measure + at)
        cells += [str(difference), difference.verdict(sign)]
    return f"| `{first}` less `{second}` | {by[0]:+.1f}, {by[1]:+.1f} | {' | '.join(cells)} |"


def _of(results: Sequence[Mapping[str, Any]], variant: str) -> list[Mapping[str, Any]]:
    return [result for result in results if result["variant"] == variant]


def _cells(runs: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    places = (MEASURES[measure] for measure in measures)
    return [str(Figure.of([run["scores"][split][name] for run in runs])) for split, name in places]


def _together(variants: Sequence[str], steps: int) -> str:
    """How long so many steps of each take, tens of seconds."""
    *others, last = (f"{round(STEP_SECONDS[name] * steps, -1):.0f}" for name in variants)
    return f"{', '.join(others)} and {last}"


def _by_time(runs: Sequence[Mapping[str, Any]]) -> str:
    measures = ("J, seen", "J, unseen", "J, processes", "J, seen, best threshold", "J, processes, best threshold")
    cells = _cells(runs, measures)
    return f"| `{runs[0]['variant']}` | {runs[0]['steps']:,} | {' | '.join(cells)} |"


def _own(results: Sequence[Mapping[str, Any]], first: str, second: str) -> str:
    measures = ("J, seen", "J, unseen", "J, processes", "J, seen, best threshold")
    cells = (str(Difference.of(results, first, second, measure)) for measure in measures)
    return f"| `{first}` less `{second}` | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
