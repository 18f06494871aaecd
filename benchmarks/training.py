"""What caches save of a training step of REM-mini, and how long a step waits for its data.

    python -m trainer synth --out data/synth/train --count 64 --seed 1
    python -m benchmarks.training --data data/synth/train --pairs 2

The loop of `python -m trainer train mini` runs with caches and without them in turn, over the same samples and with the
same loader; the medians of its steps' seconds are compared, without the first steps of each run. Losses of both are
equal, which is checked. Processor seconds, of all steps and threads, are compared too: other work on the machine moves
them least; readers are processes of their own and not in them. Beside that: what latents stored in float16 in place of
float32 would save, and change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from trainer.data.cache import cache_latents
from trainer.data.open import open_sources
from trainer.model.objective import loss
from trainer.model.trainable import freeze, load_trainable
from trainer.run.batch_encoder import BatchEncoder
from trainer.run.checkpoint import read_progress
from trainer.run.train import TrainingRun, train
from trainer.settings import TrainSettings, load_settings

_WARM_UP = 1
"""First steps of a run that are not counted."""
_SOURCE = "streams.0.sources.0."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `python -m trainer synth` wrote")
    parser.add_argument("--batch", type=int, default=24, help="clips in a step (default 24, the preset's)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read ahead (default 2)")
    parser.add_argument("--steps", type=int, default=10, help="steps of a run with caches (default 10)")
    parser.add_argument("--encoding-steps", type=int, default=4, help="steps of a run without (default 4)")
    parser.add_argument("--pairs", type=int, default=2, help="pairs of runs (default 2)")
    arguments = parser.parse_args()

    changes = {f"{_SOURCE}root": str(arguments.data.resolve()), "streams.0.batch": arguments.batch}
    changes |= {"streams.0.workers": arguments.workers, "save_every": 10**6, "evaluate_every": None, "evaluation": None}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    processor: dict[bool, list[float]] = {True: [], False: []}
    waiting: dict[bool, list[float]] = {True: [], False: []}
    losses: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for pair in range(arguments.pairs):
            for cached in (True, False):
                steps = arguments.steps if cached else arguments.encoding_steps
                # the schedule knows the number of steps, the losses compared must not
                settings = load_settings("mini", {**changes, "steps": steps, "optim.schedule": {"kind": "constant"}})
                out = folder / f"{pair}-{cached}"
                last = train(TrainingRun(settings, "mini", out, cache=folder / "cache", cached=cached))
                processor[cached].append(read_progress(last).processor_seconds / steps)
                curves = _curves(out)
                seconds[cached] += curves["seconds"][_WARM_UP:]
                waiting[cached].append(curves["waiting"][-1])
                losses[cached] = curves["loss"]
        storage = _storage(load_settings("mini", {**changes, "steps": 1}), folder / "cache")
    together = min(arguments.steps, arguments.encoding_steps)
    median = {cached: statistics.median(values) for cached, values in seconds.items()}
    used = {cached: statistics.median(values) for cached, values in processor.items()}
    report = {
        "batch": arguments.batch,
        "workers": arguments.workers,
        "threads": torch.get_num_threads(),
        "pairs": arguments.pairs,
        "seconds_a_step_with_caches": round(median[True], 3),
        "seconds_a_step_encoding_inside": round(median[False], 3),
        "times_faster": round(median[False] / median[True], 2),
        "processor_seconds_a_step_with_caches": round(used[True], 3),
        "processor_seconds_a_step_encoding_inside": round(used[False], 3),
        "times_less_processor_time": round(used[False] / used[True], 2),
        "share_of_time_waiting_for_data": [round(share, 4) for share in waiting[True]],
        "share_of_time_waiting_encoding_inside": [round(share, 4) for share in waiting[False]],
        "losses_equal": losses[True][:together] == losses[False][:together],
        "storage": storage,
    }
    print(json.dumps(report, indent=2))


def _curves(out: Path) -> dict[str, list[float]]:
    """A run's figures, a value a step, from its TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(out / "logs"), size_guidance={"scalars": 0})
    log.Reload()
    return {name: [event.value for event in log.Scalars(name)] for name in ("seconds", "waiting", "loss")}


def _storage(settings: TrainSettings, cache: Path) -> dict[str, float]:
    """Latents in float32, as they are stored, and as they would come back from float16."""
    (data,) = settings.streams
    trainable = load_trainable("mini", None, settings, torch.device("cpu"))
    freeze(trainable, settings)
    source = cache_latents(cache, trainable, open_sources(data, settings.size), data, settings.size)
    rng = np.random.default_rng(0)
    started = time.process_time()
    samples = [source.read(index % len(source), data.frames, rng) for index in range(data.batch)]
    reading = time.process_time() - started
    batch = BatchEncoder(trainable, settings.size, 0, None).encode(samples, 0, range(len(samples)))
    values = []
    for half in (False, True):
        latents, target = (tensor.half().float() if half else tensor for tensor in (batch.latents, batch.mask_latents))
        with torch.no_grad():
            given = replace(batch, latents=latents, mask_latents=target)
            values.append(loss(trainable, trainable.denoiser, given, settings.objective).item())
    return {
        "kilobytes_a_clip_float32": round(4 * batch.latents[0].numel() / 1e3, 1),
        "milliseconds_to_read_a_batch": round(reading * 1e3, 1),
        "change_of_the_loss_by_float16": abs(values[1] - values[0]) / values[0],
    }


if __name__ == "__main__":
    main()
