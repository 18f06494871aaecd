"""One run of a benchmark: predict what is missing, score, report."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rem_engine import __version__
from rem_engine.backbones.checkpoint import checkpoint_entry, checkpoint_files
from rem_engine.folder_lock import locked
from rem_engine.media.writing import write_bytes
from rem_engine.progress import SILENT, Progress, counted
from rem_engine.whole_files import written_whole

from ..reports import RESULTS_FILE, check_replaceable
from ..run.records import read_record
from .benchmark import Benchmark
from .names import open_benchmark
from .score_all import VideoScores, cores, score_videos
from .sharing import Sharing, join

if TYPE_CHECKING:
    from rem_engine import Segmenter

_log = logging.getLogger(__name__)

PREDICTIONS = "predictions"
SETTINGS_FILE = "predictions.json"
SUBMISSION_FILE = "submission.zip"


@dataclass(frozen=True)
class BenchmarkRun:
    """What to run, and how; see `python -m trainer benchmark --help`.

    Attributes:
        name: of the benchmark.
        root: its folder.
        out: folder for predictions and reports.
        split: None for the benchmark's own choice.
        score_only: a folder of results to be scored; nothing is predicted then.
        videos: names of the videos to take; None for all.
        limit: how many of them at most; None for all.
        resume: go on with the predictions in `out`.
        on_broken: a video of which a file is bad ends the run, or is left out and named.
        model, checkpoint, protocol, size, window, seed, device, dtype: see `load_segmenter`.
    """

    name: str
    root: Path
    out: Path
    split: str | None = None
    score_only: Path | None = None
    videos: tuple[str, ...] | None = None
    limit: int | None = None
    resume: bool = False
    on_broken: Literal["skip", "refuse"] = "refuse"
    model: str = "mini"
    checkpoint: tuple[Path, ...] = ()
    protocol: Literal["shot", "paper"] = "paper"
    size: tuple[int, int] | None = None
    window: int | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"


def run_benchmark(run: BenchmarkRun, progress: Progress = SILENT) -> dict[str, Any] | None:
    """Run a benchmark into `run.out`: `predictions/` and reports, or a zip for the server that knows the truth.

    Processes that a launcher started together share the videos, for predicting and for scoring.

    Args:
        run: what to run.
        progress: told "videos" that are predicted, "steps" within one, and "scores", or "masks" that are zipped.

    Returns:
        what results.json says; None in other processes than the first.

    Raises:
        ValueError, FileNotFoundError: a dataset, a model or a setting that cannot be used.
        RuntimeError, OSError: the disk is full, or another benchmark writes to `run.out`.
    """
    sharing = join(run.device)
    alone = locked(run.out, "name another --out") if sharing.is_first else nullcontext()
    with alone:
        return _run(run, sharing, progress)


def _run(run: BenchmarkRun, sharing: Sharing, progress: Progress) -> dict[str, Any] | None:
    from .report import REPORTS, write_report

    benchmark = open_benchmark(run.name, run.root, run.split)
    names = _chosen(benchmark, run)
    if benchmark.submission is not None and run.score_only is not None:
        raise ValueError(
            f"The truth of {benchmark.title} {benchmark.split} is on its server; it cannot be scored here."
        )
    results = run.score_only or run.out / PREDICTIONS
    if sharing.is_first:
        check_replaceable(
            run.out, (*REPORTS, SUBMISSION_FILE), lambda found: isinstance(found, dict) and "videos_published" in found
        )
        if not run.score_only:
            _claim_folder(run)
        elif not results.is_dir():
            raise FileNotFoundError(f"{results} is no folder; name one of results as --score-only.")
    sharing.wait()
    left_out: dict[str, str] = {}
    if not run.score_only:
        try:
            predicted = _predict_all(benchmark, sharing.of(names), run, sharing, progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped; the same command with --resume goes on at the first missing mask"
            ) from None
        left_out = dict(sharing.gathered(list(predicted.items())))  # when all videos are predicted
    names = [name for name in names if name not in left_out]
    if benchmark.submission is not None:
        if not sharing.is_first:
            return None
        described = _describe(benchmark, names, left_out, run)
        zipped = write_submission(results, benchmark.submission, run.out / SUBMISSION_FILE, progress)
        described["submission"] = str(zipped)
        write_bytes(run.out / RESULTS_FILE, json.dumps(described, indent=2).encode())
        return described
    scored = sharing.gathered(_score_all(benchmark, sharing.of(names), run, results, progress))
    if not sharing.is_first:
        return None
    left_out |= {each.name: each.fault for each in scored if each.fault is not None}
    of_video = {each.name: each.rows for each in scored}
    rows = [row for name in names for row in of_video[name]]
    if not rows:
        raise ValueError(f"Nothing is asked about the {len(names)} videos of {benchmark.title}; check --root.")
    names = [name for name in names if name not in left_out]
    return write_report(run.out, benchmark, rows, results, _describe(benchmark, names, left_out, run))


def write_submission(results: Path, part: str, path: Path, progress: Progress = SILENT) -> Path:
    """Zip a part of the results ("" for all of them) as a benchmark's server takes it; returns `path`."""
    files = sorted((results / part).rglob("*.png"))
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for file in counted(files, "masks", progress):
            archive.write(file, file.relative_to(results).as_posix())
    return path


def _chosen(benchmark: Benchmark, run: BenchmarkRun) -> list[str]:
    names = list(benchmark.names())
    if run.videos is not None:
        unknown = sorted(set(run.videos).difference(names))
        if unknown:
            raise ValueError(f"{benchmark.title} has no video {unknown[0]!r}; check the list of videos and the split.")
        names = [name for name in names if name in set(run.videos)]
    names = names[: run.limit]
    if not names:
        raise ValueError(f"{benchmark.title} has no video in {run.root}; check --root, --split and --videos.")
    return names


def _claim_folder(run: BenchmarkRun) -> None:
    """Make sure that all predictions in a folder come from one model and one set of settings."""
    settings = {name: value and str(value) for name, value in asdict(run).items() if name in _OF_PREDICTIONS}
    settings |= {"model": str(_model_folder(run)), "version": __version__, "weights": _weights(run)}
    settings["checkpoint"] = checkpoint_entry(run.checkpoint)
    path = run.out / SETTINGS_FILE
    if not (run.out / PREDICTIONS).exists():
        if path.exists() and not settings.keys() <= read_record(path, dict[str, Any], "name another --out").keys():
            raise ValueError(f"{path} is of no run of this command: move it away, or name another --out.")
        write_bytes(path, json.dumps(settings, indent=2).encode())
        return
    if not path.is_file():
        raise ValueError(f"{run.out / PREDICTIONS} was not made by this command; name another folder as --out.")
    if not run.resume:
        raise ValueError(f"{run.out} holds predictions already; go on with them by --resume, or name another --out.")
    earlier = read_record(path, dict[str, Any], "name another --out")
    for name, value in settings.items():
        if earlier.get(name) != value:
            raise ValueError(
                f"The predictions in {run.out} were begun with another {name} ({earlier.get(name)}, now {value}); "
                "go on with the same, or name another --out."
            )


_OF_PREDICTIONS = ("name", "split", "protocol", "size", "window", "seed", "dtype")


def _model_folder(run: BenchmarkRun) -> Path:
    from rem_engine.backbones.load import MINI_FOLDER

    return MINI_FOLDER if run.model == "mini" else Path(run.model).resolve()


def _weights(run: BenchmarkRun) -> str:
    """Changes when a file of the model or the checkpoint does."""
    from ..data.fingerprint import files_hash

    files = sorted(path for path in _model_folder(run).rglob("*") if path.is_file())
    return files_hash([*files, *(file.resolve() for file in checkpoint_files(run.checkpoint))])


def _predict_all(
    benchmark: Benchmark, names: Sequence[str], run: BenchmarkRun, sharing: Sharing, progress: Progress
) -> dict[str, str]:
    """Predict what is missing of some videos; what is wrong with those that are left out, by name."""
    from .predict import is_predicted, predict

    results, left_out = run.out / PREDICTIONS, dict[str, str]()
    segmenter: Segmenter | None = None
    for name in counted(names, "videos", progress):
        try:
            video = benchmark.video(name)
            if is_predicted(video, results):
                continue
            if segmenter is not None:
                predict(segmenter, video, results, progress)
                continue
        except (ValueError, FileNotFoundError) as error:
            left_out[name] = _left_out(name, str(error), run)
            continue
        segmenter = _load(benchmark, run, sharing)  # not before: a run that is whole is scored without a model
        try:
            predict(segmenter, video, results, progress)
        except (ValueError, FileNotFoundError) as error:
            left_out[name] = _left_out(name, str(error), run)
    return left_out


def _left_out(name: str, fault: str, run: BenchmarkRun) -> str:
    """Refuse a video, or say that it is left out."""
    if run.on_broken == "refuse":
        raise ValueError(
            f"The video {name}: {fault.rstrip('.')}; mend it, or leave such videos out by --on-broken skip."
        )
    _log.warning("video left out: %s: %s", name, fault)
    return fault


def _load(benchmark: Benchmark, run: BenchmarkRun, sharing: Sharing) -> Segmenter:
    from rem_engine import load_segmenter

    from .predict import for_benchmark

    segmenter = load_segmenter(
        run.model,
        checkpoint=run.checkpoint,
        protocol=run.protocol,
        size=run.size,
        window=run.window,
        seed=run.seed,
        device=sharing.device if run.device == "auto" else run.device,
        dtype=run.dtype,
    )
    return for_benchmark(segmenter, benchmark)


def _score_all(
    benchmark: Benchmark, names: Sequence[str], run: BenchmarkRun, results: Path, progress: Progress
) -> list[VideoScores]:
    scored = []
    videos = score_videos(benchmark, run.root, names, results, cores())
    for done, each in enumerate(videos, 1):
        if each.fault is not None:
            _left_out(each.name, each.fault, run)
        scored.append(each)
        progress.update("scores", done, len(names))
    return scored


def _describe(
    benchmark: Benchmark, names: Sequence[str], left_out: Mapping[str, str], run: BenchmarkRun
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "benchmark": benchmark.name,
        "split": benchmark.split,
        "videos": len(names),
        "videos_in_dataset": len(benchmark.names()),
        "videos_published": benchmark.published_videos,
        "left_out": dict(left_out),
    }
    if run.score_only:
        return described | {"results": str(run.score_only)}
    settings = ("model", "protocol", "size", "window", "seed", "device", "dtype")
    described |= {name: getattr(run, name) for name in settings}
    return described | {"checkpoint": checkpoint_entry(run.checkpoint)}
