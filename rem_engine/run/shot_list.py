"""Lists of shots: CSV, and edits as OpenTimelineIO reads them (OTIO, CMX 3600 EDL)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..input_files import NotJson, NotText, load_json, load_text
from ..media.numbering import frame_span, told_numbers
from ..media.plate_settings import PlateSettings
from ..media.reading import open_shot
from ..media.shot import Shot
from ..media.timecode import STILLS_FPS, parse_timecode
from ..names import folder_names, names_a_layer, unused_name
from .batch import TABLE

EDITS = (".otio", ".otioz", ".edl")
_LONGEST_EDIT = 100_000_000
_SOURCE_FILE = re.compile(r"SOURCE FILE:\s*(.+)")
_HOW = "write a first line of columns, of which one is shot, and a line for each shot"


@dataclass(frozen=True)
class Span:
    """The part of a source that an edit uses.

    Attributes:
        start: its first frame, counted at `fps` from 0, as timecodes count.
        count: frames.
        fps: frames per second of that count.
        available: frame of the same count at which the source begins; None where the edit does not say.
        before, after: frames that it also uses where the source has them: of dissolves, and of speed that was changed.
    """

    start: int
    count: int
    fps: Fraction
    available: int | None = None
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class ListedShot:
    """A line of a list.

    Attributes:
        name: of its folder; no two have one.
        path: where the shot is.
        prompts: what to segment in it; () for what is asked of all.
        frames: numbers of the frames that are wanted; "" for all, or for what `span` says.
        span: of an edit.
        handles: frames more at either end, as far as there are any; None for those of all.
        options: what else is set for it, by names of options.
        trouble: why it cannot be done; "" where it can.
    """

    name: str
    path: Path = Path()
    prompts: tuple[str, ...] = ()
    frames: str = ""
    span: Span | None = None
    handles: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""


def read_list(file: Path, *, media: Path | None = None, fps: Fraction = STILLS_FPS) -> list[ListedShot]:
    """The shots of a list, in its order.

    A CSV has a line of columns: `shot` is a path, relative to the list; `name`, `prompt` (further ones as `prompt 2`,
    or as lines of one cell), `frames` and `handles` may be there, and any option of `segment`. Of an edit each clip is
    a shot; its metadata `rem` has what a CSV's columns have.

    Args:
        file: the list.
        media: a folder in which sources lie that an edit does not say the place of.
        fps: of an EDL, which does not say it.

    Raises:
        FileNotFoundError: no such list.
        ValueError: it cannot be read, or lists nothing.
        RuntimeError: OpenTimelineIO, which reads edits, is not installed.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: give a list of shots, a .csv, .otio or .edl.")
    shots = [*(_of_edit(file, media, fps) if file.suffix.lower() in EDITS else _of_csv(file))]
    if not shots:
        raise ValueError(f"{file} lists no shots: {_HOW}, or give an edit with clips.")
    named: list[ListedShot] = []
    for shot in shots:
        safe = shot.name if names_a_layer(shot.name) else folder_names([shot.name])[0]
        named.append(replace(shot, name=unused_name(safe, [TABLE, *(other.name for other in named)])))
    return named


def frames_of(listed: ListedShot, handles: int, plate: PlateSettings) -> str:
    """Numbers of the frames of a shot that are to be read, "" for all of them: what is asked for, and handles as far as
    there are any.

    Raises:
        ValueError: a shot that cannot be read, or that lacks what is asked for.
    """
    if listed.handles is not None:
        handles = listed.handles
    if listed.span is None and (not listed.frames or not handles):
        return listed.frames
    with open_shot(listed.path, replace(plate, frames="")) as shot:
        numbers = shot.numbering.numbers
        if listed.span is None:
            with open_shot(listed.path, replace(plate, frames=listed.frames)) as part:
                wanted = part.numbering.numbers
            first, last = numbers.index(wanted[0]), numbers.index(wanted[-1])
        else:
            first = _first_of(listed.span, shot)
            last = first + listed.span.count - 1
        if first < 0 or last >= len(numbers):
            raise ValueError(
                f"The list asks for {last - first + 1} frames of {listed.path}, {_told_place(first, len(numbers))}, "
                f"and it has {len(numbers)} ({told_numbers(numbers)}): give the source that the edit was made of."
            )
        if listed.span is not None:
            first, last = first - listed.span.before, last + listed.span.after
        first, last = max(first - handles, 0), min(last + handles, len(numbers) - 1)
        return frame_span(numbers[first], numbers[last])


def _told_place(first: int, count: int) -> str:
    if first < 0:
        return f"from {-first} before its beginning on"
    return f"from its frame {first + 1} on" if first < count else f"from {first - count} behind its end on"


def _first_of(span: Span, shot: Shot) -> int:
    """Place of a span's first frame in its source: by what the edit says of it, by timecode, or by frame numbers."""
    if span.available is not None:
        return span.start - span.available
    fps = shot.fps or span.fps
    if (timecode := shot.info.timecode) is not None:
        return span.start - parse_timecode(timecode, fps).count(fps)
    numbers = shot.numbering.numbers
    if shot.numbering.own and span.start in numbers:
        return numbers.index(span.start)
    if span.start < len(numbers):  # an edit of files without a timecode counts them from 0
        return span.start
    raise ValueError(
        f"The list has {shot.name} begin at its frame {span.start}, and it has no timecode to count from: give a "
        "source with one, or a CSV with frames."
    )


def _of_csv(file: Path) -> Iterator[ListedShot]:
    try:
        text = load_text(file)
    except NotText as error:
        raise ValueError(f"{file} is no list of shots, {error}: save it as CSV in UTF-8.") from error
    head = text.partition("\n")[0]  # where a comma is the decimal point, spreadsheets write semicolons
    rows = csv.DictReader(
        io.StringIO(text), skipinitialspace=True, restkey="", strict=True, delimiter=max(",;\t", key=head.count)
    )
    try:
        columns = [column.strip().lower() for column in rows.fieldnames or ()]
        if "shot" not in columns:
            raise ValueError(f"{file} has no column shot: {_HOW}.")
        if twice := [column for column in columns if column and columns.count(column) > 1]:
            raise ValueError(f"{file} has the column {twice[0]} twice: call further prompts prompt 2, prompt 3, ...")
        rows.fieldnames = columns
        for row in rows:
            where = f"Line {rows.line_num} of {file.name}"
            if "" in row:
                yield ListedShot(f"line {rows.line_num}", trouble=f"{where} has more cells than columns: quote commas.")
                continue
            cells = {name: value.strip() for name, value in row.items() if value and value.strip()}
            if cells:
                yield _listed(cells, where, file.parent)
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV: {error} in line {rows.reader.line_num}; {_HOW}.") from error


def _listed(cells: Mapping[str, str], where: str, folder: Path, found: Path | None = None) -> ListedShot:
    """A shot of what stands in the columns; `found` is its path where these do not say it."""
    said, prompts = dict(cells), list[str]()
    for column in [name for name in said if re.fullmatch(r"prompts?[ _]?\d*", name)]:
        prompts += [line.strip() for line in said.pop(column).splitlines() if line.strip()]
    path = said.pop("shot", "")
    name, frames, handles = (said.pop(column, "") for column in ("name", "frames", "handles"))
    place = folder / Path(path).expanduser() if path else found
    shown = name or (place.stem if place is not None and place.suffix else place.name if place is not None else where)
    trouble = ""
    if place is None:
        trouble = f"{where} names no shot: write its path into the column shot."
    elif handles and not handles.isdecimal():
        trouble = f"{where} has the handles {handles!r}: give a number of frames, or none."
    count = int(handles) if handles.isdecimal() else None
    options = {re.sub(r"[ _]", "-", column): value for column, value in said.items()}
    return ListedShot(shown, place or Path(), tuple(prompts), frames, None, count, options, trouble)


def _of_edit(file: Path, media: Path | None, fps: Fraction) -> Iterator[ListedShot]:
    try:
        import opentimelineio as otio
    except ImportError as error:
        raise RuntimeError(
            f"OpenTimelineIO, which reads {file.name}, is not installed: pip install opentimelineio "
            "otio-cmx3600-adapter."
        ) from error
    _check_nesting(file)
    how = "export it again, as OTIO or CMX 3600"
    try:
        if file.suffix.lower() == ".edl":
            how = f"give its rate by --fps (now {float(fps):g}), or {how}"
            timeline = otio.adapters.read_from_string(_edl_text(file), "cmx_3600", rate=float(fps))
        else:
            timeline = otio.adapters.read_from_file(str(file))
        clips = [*timeline.find_clips()]
        tracks = [*timeline.video_tracks()] if hasattr(timeline, "video_tracks") else []
    except Exception as error:  # adapters raise whatever they come upon
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise ValueError(f"{file} cannot be read as an edit ({reason}): {how}.") from error
    seen = {id(clip) for track in tracks for clip in track.find_clips()}
    for number, clip in enumerate((clip for clip in clips if not tracks or id(clip) in seen), start=1):
        if isinstance(clip.media_reference, otio.schema.GeneratorReference) or not clip.enabled:
            continue  # black, bars: nothing to segment; or switched off, and not seen
        yield _of_clip(clip, number, file, media)


def _check_nesting(file: Path) -> None:
    """Refuse what is no JSON; of lists within lists without end OpenTimelineIO's reader would die."""
    try:
        if file.suffix.lower() == ".otio":
            load_json(file)
        elif file.suffix.lower() == ".otioz":
            with zipfile.ZipFile(file) as archive, archive.open("content.otio") as content:
                json.loads(content.read(_LONGEST_EDIT))
    except (NotJson, zipfile.BadZipFile, KeyError, RecursionError, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read as an edit ({error}): export it again, as OTIO or CMX 3600."
        ) from error


def _edl_text(file: Path) -> str:
    """The text of an EDL, which is older than UTF-8."""
    try:
        return load_text(file)
    except NotText:
        return file.read_bytes().decode("latin-1")


def _of_clip(clip: Any, number: int, file: Path, media: Path | None) -> ListedShot:
    said = clip.metadata.get("rem")
    cells = {str(name): _cell(value) for name, value in said.items()} if hasattr(said, "items") else {}
    where = f"Event {number} of {file.name}"
    name = cells.get("name") or Path(clip.name or "").stem or f"event_{number:03d}"
    path, trouble = _source_of(clip, where, file.parent, media)
    shot = _listed({**cells, "name": name}, where, file.parent, path)
    if path is None and "shot" not in cells:
        return replace(shot, trouble=trouble)
    part = None if shot.frames else _span_of(clip)
    if part is not None and part.count < 1:
        return replace(shot, trouble=f"{where} uses no frame of its source: take it out of the list.")
    return replace(shot, span=part)


def _span_of(clip: Any) -> Span | None:
    """What a clip uses of its source; None for all, where the edit says nothing."""
    available = clip.media_reference.available_range if clip.media_reference else None
    if clip.source_range is None and available is None:
        return None
    shown, seen = clip.trimmed_range(), clip.visible_range()
    rate = (available or shown).start_time.rate  # in which frames of the source are counted

    def frames(time: Any) -> Fraction:
        return Fraction(time.rescaled_to(rate).value).limit_denominator(1001)

    first, last = frames(shown.start_time), frames(shown.end_time_exclusive())
    warps = [effect.time_scalar for effect in clip.effects if hasattr(effect, "time_scalar")]
    speed = abs(math.prod(warps))
    used = max(math.ceil((last - first) * Fraction(speed).limit_denominator(1001)), 1 if last > first else 0)
    start, count = math.floor(first), math.ceil(last) - math.floor(first)
    return Span(
        start,
        min(used, count),
        Fraction(rate).limit_denominator(1001),
        math.floor(frames(available.start_time)) if available else None,
        before=math.ceil(first - frames(seen.start_time)),
        after=math.ceil(frames(seen.end_time_exclusive()) - last) + max(used - count, 0),
    )


def _cell(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _source_of(clip: Any, where: str, folder: Path, media: Path | None) -> tuple[Path | None, str]:
    """(path of a clip's source, "") or (None, why there is none)."""
    url = _url_of(clip.media_reference)
    edl = clip.metadata.get("cmx_3600", {})
    comments = [found[1].strip() for comment in edl.get("comments", ()) if (found := _SOURCE_FILE.match(str(comment)))]
    if not url and comments:
        url = comments[0]
    if url:
        path = folder / Path(unquote(urlsplit(url).path) if url.startswith("file:") else url)
        if not _is_there(path) and _is_there(folder / unquote(url)):  # a relative URL, in which %20 is a space
            path = folder / unquote(url)
        if _is_there(path) or media is None:
            return path, ""
    called = [Path(text).stem for text in (url, clip.name, edl.get("reel", "")) if text and Path(text).stem]
    if media is None or not called:
        return None, f"{where} has no source: name it in the edit, or say by --media FOLDER where sources lie."
    matching: list[Path] = next(filter(None, (_named(media, name) for name in called)), [])
    if not matching:
        return None, f"{where} has no source: nothing in {media} is called {' or '.join(dict.fromkeys(called))}."
    if len(matching) > 1:
        several = ", ".join(place.name for place in matching)
        return None, f"{where} may be any of {several} in {media}: name its source in the edit."
    return matching[0], ""


def _is_there(path: Path) -> bool:
    """Whether there is a file, a folder, or where a pattern's pictures would lie."""
    return path.exists() or ("#" in path.name and path.parent.is_dir())


def _url_of(reference: Any) -> str:
    """Where a media reference leads; of a sequence of pictures a pattern."""
    if not hasattr(reference, "abstract_target_url"):
        return getattr(reference, "target_url", "") or ""
    url = reference.abstract_target_url("#" * max(reference.frame_zero_padding, 1))
    return str(url) if reference.target_url_base else url.lstrip("/")


def _named(media: Path, name: str) -> list[Path]:
    """What in a folder has a clip's or a reel's name."""
    if not media.is_dir():
        return []
    return sorted(place for place in media.iterdir() if place.stem.casefold() == name.casefold())
