"""The ablation beside the paper's: docs/ablation.md and its plots, from docs/data/ablation/results.json alone.

    python -m trainer ablate --preset mini --out runs/ablation --jobs 2
    python -m benchmarks.ablation --runs runs/ablation      # takes over that results.json, and draws page and plots
    python -m benchmarks.ablation                           # draws them anew from what is committed

What has not been run says so, cell by cell. The section "In short" is written by hand: read it again when the figures
change.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.ablation.cell import PLATEAU
from trainer.ablation.evidence import (
    LEVEL,
    MEASURES,
    RESAMPLES,
    Estimate,
    difference,
    estimate,
    last_common_mark,
)
from trainer.ablation.plots import draw_curves, draw_differences
from trainer.ablation.report import NOT_RUN, figure
from trainer.ablation.results import Results, read_results, write_results
from trainer.ablation.variants import VARIANTS

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "data" / "ablation" / "results.json"

PAPER: Mapping[str, tuple[str, float, float]] = {
    "rem": ("512", 63.5, 40.0),
    "rgb": ("256", 58.4, 31.6),
    "rgb_tuned": ("256", 60.4, 32.4),
    "cnn": ("512", 59.6, 29.4),
    "mlp": ("512", 59.3, 33.1),
}
"""REM's ablation on ModelScope: side in pixels, J&F on Ref-YTVOS and J on Ref-VPS, percent (the paper's table)."""

CLAIMS: Mapping[tuple[str, str], str] = {
    ("rem", "rgb"): "comparing latents is worth more than comparing pixels",
    ("rem", "rgb_tuned"): "also where the VAE's decoder learns along",
    ("rem", "cnn"): "the VAE's decoder is worth more than a new CNN head",
    ("rem", "mlp"): "and more than an MLP head",
    ("rgb_tuned", "rgb"): "with pixels, a decoder that learns along is worth more than a frozen one",
    ("cnn", "mlp"): "the CNN head is ahead of the MLP head on objects, and behind on processes",
}
"""Pairs of which both have a row in the paper, and what it says of them."""
OWN: Mapping[tuple[str, str], str] = {
    ("rem", "flow"): "REM's one pass at timestep 0, against a flow from the video at timestep 1000",
    ("rem", "scratch"): "text-to-video weights, against random ones",
    ("rem", "timestep"): "timestep 0, against 500",
    ("rem", "features"): "a denoiser that learns, against frozen features",
}
"""Pairs of which the second has none."""

JUDGED = (MEASURES[1], MEASURES[0], MEASURES[3])

PAGE = """\
# The ablation, in miniature

REM predicts the latents of a mask and compares latents. The paper asks what that is worth, against comparing
pixels, and against new heads in place of the VAE's decoder. Here every such choice is a switch of the trainer's
one objective (`objective` in the settings, for `python -m trainer train` too), and one command runs them all:

```
python -m trainer ablate --preset mini --out runs/ablation --jobs 2
python -m benchmarks.ablation --runs runs/ablation      # takes over the raw results, and writes this page
```

| variant | settings |
|---|---|
{variants}

## In short

{short}

## How it is measured

- Every run but those from scratch starts from REM-mini's text-to-video weights, and trains on batches of {batch} clips
  of {frames} frames at {size}, smaller than REM-mini's own frames, so that all of it fits into hours of two cores. They
  are of {train} rendered shots (AdamW, a warm-up and then one rate, a moving average;
  `trainer/presets/ablation_mini.yaml`). Runs of one seed see the same batches.
- **Time** is the processor's, of one thread, of training alone: what else the machine does moves it little. A run is
  scored after {first:g} s of it and after each doubling. Steps that fill a mark are computed from what a step took
  while rates were tried; the plots have what was measured.
- **A learning rate for each variant**: {rates} are tried for {sweep:g} s by a seed of their own, and the one of the
  lowest loss on {tuning} shots that are scored for nothing else is taken.
- **Convergence**: a run stops when two doublings of its training together gain less than {plateau} of J on those
  shots, or at the last mark that was asked for; "→" is one that was still gaining then.
- **Scored** is J (mean over frames) of one sentence of each of {seen} shots of seen and {unseen} of unseen combinations
  of words, with soft masks cut at 0.5, as in the paper, and at the threshold that is best on the tuning shots. The
  first asks for masks that are sure; a J of 0 there says that they are not yet, not that nothing was learned.
- **Intervals** hold {level:.0%} of the means of {resamples:,} resamples of shots and, where there are several, seeds
  (`trainer/ablation/evidence.py`). Differences are paired: the same sentences, and the same batches in training.
- Every score of every sentence is in [docs/data/ablation/results.json](data/ablation/results.json), and everything
  below is computed from that file.

## What has been run

Seeds at each mark of processor seconds, of {seeds} that are asked for:

{done}

Learning rates: the loss on the tuning shots after {sweep:g} s, by which they differ before any mask is found. Losses of
one line are compared, those of different lines are of different things.

{sweeps}

## J against training

![J against processor seconds and steps](images/ablation.png)

{curves}

## Beside the paper

The paper's ablation is on ModelScope-1.4B. Its RGB rows are at 256 pixels and the others at 512; ours are all
at {size}. Ours are at the last mark that a variant has, with intervals.

{beside}

### Claim by claim

A claim is **supported** where the interval of the difference has the paper's sign throughout, **contradicted** where it
has the other one, and **undecided** where it holds 0; at the last mark at which most seeds have both, by equal
processor time.

![Differences with their intervals](images/ablation-differences.png)

{claims}

Variants without a row in the paper's table; the sign asked for is that of REM being ahead:

{own}

### By equal steps

A step of a variant that decodes takes longer, so that by equal steps the picture is another one. An earlier round of
this ablation was by equal steps: from the text-to-video weights of REM-mini at 96x96, 500 steps of 16 clips, one
learning rate (0.002) for all, three seeds, 24 shots a split. Its J on seen sentences, at 0.5 and at the threshold best
for these very shots:

| variant | J, seen | at the best threshold | J, processes |
|---|---|---|---|
| `rem` | 0.205 ± 0.002 | 0.315 ± 0.009 | 0.502 ± 0.009 |
| `rgb` | 0.213 ± 0.009 | 0.358 ± 0.026 | 0.510 ± 0.005 |
| `rgb_tuned` | 0.213 ± 0.009 | 0.339 ± 0.006 | 0.546 ± 0.024 |
| `cnn` | 0.191 ± 0.020 | 0.326 ± 0.013 | 0.507 ± 0.052 |
| `mlp` | 0.172 ± 0.029 | 0.279 ± 0.017 | 0.483 ± 0.061 |
| `features` | 0.000 ± 0.000 | 0.249 ± 0.001 | 0.000 ± 0.000 |
| `scratch` | 0.184 ± 0.012 | 0.285 ± 0.016 | 0.521 ± 0.018 |
| `timestep` | 0.105 ± 0.005 | 0.208 ± 0.008 | 0.273 ± 0.022 |

With 1,000 steps, about the time that 500 with a pass through the decoder take, `rem` had 0.342 ± 0.018, `cnn` 0.288 ±
0.020 and `mlp` 0.264 ± 0.016: by equal time REM was ahead of both RGB rows and both heads with every seed.

## What FlowRVS' choice is here

[FlowRVS](https://arxiv.org/abs/2510.06139) has the video's latents z flow into the mask's m: the denoiser gives the
velocity z - m along the straight path between both, at timestep 1000 on the video's side, which is where the
pre-trained denoiser knows pure noise. The variant `flow` takes from it (paper and released code): that path and
direction, the clean latents of the video as its beginning, the velocity as what is trained by squared error, and one
step at timestep 1000 as what is predicted. It does not take: training along the rest of the path (FlowRVS trains half
of the time at its beginning and half of it uniformly along), the video's latents as further input channels, latents
sampled from the VAE's posterior, a decoder tuned for masks, mask latents that are not normalised, and its datasets. So
it says what the choice of start and timestep is worth under this budget, not what FlowRVS is.

## What the miniature cannot tell

- **How large a difference is.** The model has 7 million parameters, and the world eight shapes and six processes, at
  {size}.
- **What comes after the last mark.** Where runs still gain, what differs is how soon a variant begins to find things.
- **The worth of a strong base.** Its text-to-video training is 1,000 steps on a rendered world. *From scratch* and the
  frozen features stand against that, not against Wan2.1 or ModelScope, which have seen the world.
- **The worth of a VAE that has never seen masks.** REM-mini's was trained on mattes too, which leaves a tuned decoder
  little to gain, and helps latent supervision.
- **The worth of the paper's own heads.** The sizes of ours are our choice (`trainer/model/decoders.py`), and they and
  the RGB rows are trained by squared error. A loss made for segmentation might serve them better.
- **The cost at 512 pixels,** which is where latent supervision saves most: there is no decoder in its step.
"""

SHORT = """\
- **No claim of the paper can be judged by this protocol yet**, nor can FlowRVS' choice: of its cells the learning
  rates of `rem` have been tried, and no run has been scored. All rows of the paper and `flow`, with five seeds, are
  estimated at two processor hours to 160 s, and at six to 640 s (two marks more).
- What there is comes from the [earlier round](#by-equal-steps) with weaker text-to-video weights, three seeds and 24
  shots, too few for intervals. By equal steps the paper's order hardly showed there; by equal time, REM was ahead of
  both RGB rows and of both heads on seen sentences with every seed. Timestep 0 was far ahead of 500, and text-to-video
  weights, on seen sentences, 0.02 ahead of random ones.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder that `python -m trainer ablate --out` wrote")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write to (docs)")
    arguments = parser.parse_args()
    data = arguments.docs / DATA.relative_to(ROOT / "docs")
    if arguments.runs is not None:
        data.parent.mkdir(parents=True, exist_ok=True)
        write_results(data, read_results(arguments.runs / "results.json"))
    results = read_results(data)
    (arguments.docs / "images").mkdir(parents=True, exist_ok=True)
    draw_curves(arguments.docs / "images" / "ablation.png", results)
    draw_differences(arguments.docs / "images" / "ablation-differences.png", results, {**CLAIMS, **OWN})
    text = describe(results)
    (arguments.docs / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def describe(results: Results) -> str:
    """docs/ablation.md."""
    protocol = results.protocol
    height, width = protocol.size
    return PAGE.format(
        variants="\n".join(f"| `{name}`: {v.title} | {_settings(v.overrides)} |" for name, v in VARIANTS.items()),
        short=SHORT.strip(),
        batch=protocol.batch,
        frames=protocol.frames,
        size=f"{width}x{height}",
        first=protocol.first,
        rates=", ".join(f"{rate:g}" for rate in protocol.rates),
        sweep=protocol.sweep_seconds,
        plateau=PLATEAU,
        level=LEVEL,
        resamples=RESAMPLES,
        seeds=protocol.seeds,
        done=_done(results),
        sweeps=_sweeps(results),
        curves=_curves(results),
        beside=_beside(results),
        claims=_judged(results, CLAIMS, _paper_signs),
        own=_judged(results, OWN, lambda pair: (1.0, 1.0)),
        **protocol.shots,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _settings(overrides: Mapping[str, Any]) -> str:
    values = (f"`{name.removeprefix('objective.')}: {value}`" for name, value in overrides.items())
    return ", ".join(values) or "the defaults"


def _done(results: Results) -> str:
    marks = results.all_marks
    rows = []
    for variant in VARIANTS:
        records = [record for record in results.of(variant) if record.marks]
        counts = [str(len(results.marks(variant, mark)) or NOT_RUN) for mark in marks] or [NOT_RUN]
        converged = sum(record.converged for record in records)
        rows.append([f"`{variant}`", *counts, f"{converged} of {len(records)}" if records else NOT_RUN])
    return _table(["", *([f"{mark:g} s" for mark in marks] or ["runs"]), "converged"], rows)


def _sweeps(results: Results) -> str:
    rows = []
    for variant in VARIANTS:
        sweep = results.sweep(variant)
        if sweep is None:
            rows.append([f"`{variant}`", *[NOT_RUN] * (len(results.protocol.rates) + 2)])
            continue
        by_rate = {each.rate: f"{each.loss:.4f}" for each in sweep.tried}
        shown = (f"**{by_rate[rate]}**" if rate == sweep.rate else by_rate[rate] for rate in results.protocol.rates)
        rows.append([f"`{variant}`", *shown, str(sweep.tried[0].steps), f"{sweep.seconds_a_step:.2f}"])
    return _table(["", *(f"{rate:g}" for rate in results.protocol.rates), "steps", "processor s a step"], rows)


def _curves(results: Results) -> str:
    """J at the tuned threshold at every mark, and at 0.5 behind a stroke."""
    marks = results.all_marks
    if not marks:
        return "Not run yet."
    rows = []
    for variant in VARIANTS:
        cells = [
            f"{figure(results, variant, mark, MEASURES[1])} / {figure(results, variant, mark, MEASURES[0])}"
            if results.marks(variant, mark)
            else NOT_RUN
            for mark in marks
        ]
        records = results.of(variant)
        gains = bool(records) and not all(record.converged for record in records)
        rows.append([f"`{variant}`{' →' if gains else ''}", *cells])
    head = ["J, seen: tuned threshold / at 0.5", *(f"{mark:g} s" for mark in marks)]
    return "Mean and sample standard deviation over seeds:\n\n" + _table(head, rows)


def _beside(results: Results) -> str:
    rows = []
    for name, (side, youtube, processes) in PAPER.items():
        marks = [mark.mark for record in results.of(name) for mark in record.marks]
        here = [f"{max(marks):g} s", *_intervals(results, name, max(marks))] if marks else [NOT_RUN] * 4
        rows.append([VARIANTS[name].title, side, str(youtube), str(processes), *here])
    measures = [MEASURES[i].title for i in (0, 1, 3)]
    return _table(["", "paper: pixels", "Ref-YTVOS J&F", "Ref-VPS J", "here: after", *measures], rows)


def _intervals(results: Results, name: str, mark: float) -> list[str]:
    found = (estimate(results, name, mark, each) for each in (MEASURES[0], MEASURES[1], MEASURES[3]))
    return [NOT_RUN if each is None else f"{each.mean:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in found]


def _paper_signs(pair: tuple[str, str]) -> tuple[float, float]:
    """Of the paper's differences: on objects (Ref-YTVOS), and on processes (Ref-VPS)."""
    (_, youtube, processes), (_, other_youtube, other_processes) = PAPER[pair[0]], PAPER[pair[1]]
    return youtube - other_youtube, processes - other_processes


def _judged(results: Results, pairs: Mapping[tuple[str, str], str], signs: Any) -> str:
    head = ["", "claim", "paper", "after", "seeds", *(measure.title for measure in JUDGED)]
    rows = []
    for pair, claim in pairs.items():
        objects, processes = signs(pair)
        paper = f"{objects:+.1f}, {processes:+.1f}" if pair in CLAIMS else "-"
        mark = last_common_mark(results, *pair)
        if mark is None:
            cells = [NOT_RUN] * (2 + len(JUDGED))
        else:
            found = [difference(results, *pair, mark, measure) for measure in JUDGED]
            seeds = next((str(each.seeds) for each in found if each is not None), NOT_RUN)
            by_sign = [processes if measure.kind == "process" else objects for measure in JUDGED]
            cells = [f"{mark:g} s", seeds, *(_judgement(each, sign) for each, sign in zip(found, by_sign))]
        rows.append([f"`{pair[0]}` less `{pair[1]}`", claim, paper, *cells])
    return _table(head, rows)


def _judgement(found: Estimate | None, sign: float) -> str:
    if found is None:
        return NOT_RUN
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] **{found.verdict(sign)}**"


if __name__ == "__main__":
    main()
