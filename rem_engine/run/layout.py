"""What stands in OUT, the folder of a run: which file lies where, written down once.

Beside the files of `FILES` there are run.json, which is written last and makes a run whole, and until then hidden
things: the state file, which says what is under way and how far it came; the float32 masks that soft.npz is made of;
and a folder for the files of a run that replaces another's, until it is whole. A hidden folder keeps what corrections
are made from, another what tasks of a farm have made of a run that is to come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..media.numbering import named_for
from ..names import CRYPTOMATTE_FOLDER, EXR_FOLDER, IDS_FOLDER, OVERLAY_FILE

STATE_FILE = ".unfinished.json"
PARTS = ".parts"
"""The folder of what tasks of a farm have made for a run that is to come; see `run.parts`."""
CORRECTIONS = ".corrections"
"""The folder of what corrections are made from; see `run.corrections`."""
MOTION = ".motion"
"""In it, the motion of the shot; no layer has that name."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file in OUT.

    Attributes:
        name: as `--write` has it.
        file: its path below OUT, with `{layer}` where each layer has its own, `{frame}`, the name of a frame
            (`shot.1001`), where each frame has its own, and `{shot}` where one file holds all of them.
        holds: what is in it, for help texts.
        option: what makes a run write it, where that is not `--write`.
        is_delivery: whether it holds mattes for compositing; otherwise masks as the model gives them.
        beside: the kind beside which it is always written, as a part of it.
    """

    name: str
    file: str
    holds: str
    option: str = ""
    is_delivery: bool = False
    beside: str = ""

    @property
    def is_sequence(self) -> bool:
        """Whether there is a file for each frame."""
        return "{frame}" in self.file

    def path(self, out: Path, *, layer: str = "", shot: str = "", frame: str = "") -> Path:
        """Where a file lies; what `file` does not name is left aside."""
        shot, frame = named_for(shot, layer), named_for(frame, layer)
        return out / self.file.format(layer=layer, shot=shot, frame=frame)

    def places(self, out: Path, layers: Iterable[str], shot: str = "") -> list[Path]:
        """The folders that hold its frames, or else its files, for all layers."""
        files = [self.path(out, layer=layer, shot=shot) for layer in (layers if "{layer}" in self.file else ("",))]
        return [file.parent for file in files] if self.is_sequence else files


FILES = (
    FileKind("masks", "{layer}/masks/{frame}.png", "8-bit, 0 or 255, the shot's own size"),
    FileKind("soft", "{layer}/soft/{frame}.png", "16-bit, the soft mask in 0..1"),
    FileKind("npz", "{layer}/soft.npz", '"soft": float32 [T,H,W], not clipped'),
    FileKind("overlay", OVERLAY_FILE, "the shot with every layer in its colour"),
    FileKind("ids", f"{IDS_FOLDER}/{{frame}}.png", "8-bit, the number of each pixel's layer", "--combine exclusive"),
    FileKind("alpha", "{layer}/alpha/{frame}.png", "16-bit grey", is_delivery=True),
    FileKind("png16", "{layer}/png16/{frame}.png", "16-bit RGBA", is_delivery=True),
    FileKind("exr", f"{EXR_FOLDER}/{{frame}}.exr", "A of each layer, and RGB, RGBA or A", is_delivery=True),
    FileKind("alpha_exr", "{layer}/alpha_exr/{frame}.exr", "A, cropped to what it holds", is_delivery=True),
    FileKind("cryptomatte", f"{CRYPTOMATTE_FOLDER}/{{frame}}.exr", "mattes that are picked by name", is_delivery=True),
    FileKind("prores", "{layer}/{shot}.mov", "ProRes 4444", is_delivery=True),
    FileKind("webm", "{layer}/{shot}.webm", "VP9 with alpha", is_delivery=True),
    FileKind("shapes", "{layer}/{shot}.shapes.json", "roto shapes", is_delivery=True),
    *(
        FileKind(name, f"{{layer}}/{{shot}}.{suffix}", f"the same for {program}", "--write shapes", True, "shapes")
        for name, suffix, program in (
            ("shapes_nk", "nk", "Nuke"),
            ("shapes_fxs", "fxs", "Silhouette"),
            ("shapes_py", "blender.py", "Blender"),
            ("shapes_jsx", "jsx", "After Effects"),
        )
    ),
)
"""Everything that a run can write."""

KINDS = {kind.name: kind for kind in FILES}

SEQUENCES = tuple(kind.name for kind in FILES if kind.is_delivery and kind.is_sequence)
"""Deliveries of a file a frame."""
SINGLE_FILES = tuple(kind.name for kind in FILES if kind.is_delivery and not kind.is_sequence and not kind.beside)
"""Deliveries of one file for all frames."""
DELIVERIES = (*SEQUENCES, *SINGLE_FILES)
WRITABLE = tuple(kind.name for kind in FILES if not kind.option)
"""What `--write` takes: masks as the model gives them, and deliveries."""

MATTES_ALONE = ("alpha", "alpha_exr", "cryptomatte", "shapes")
"""Deliveries without colours."""

OF_DERIVED = ("alpha", "alpha_exr")
"""Deliveries that core and edge mattes have files of, as layers do."""

STORED_MASKS = ("npz", "soft", "masks")
"""Kinds that masks can be read back from, the most exact first."""


def with_parts(kinds: Iterable[str]) -> list[str]:
    """Kinds, and after each those that are written beside it."""
    return [kind.name for name in kinds for kind in FILES if name in (kind.name, kind.beside)]


def array_file(out: Path, layer: str) -> Path:
    """Where float32 masks of a layer wait for soft.npz."""
    return KINDS["npz"].path(out, layer=layer).with_name(".soft.npy.unfinished")


def help_lines(kinds: Iterable[str]) -> str:
    """Where files of these kinds lie and what they hold, a line each, for help texts."""
    paths = {kind.name: kind.file.format(layer="<layer>", shot="<shot>", frame="<shot>.1001") for kind in FILES}
    width, held = max(map(len, paths.values())) + 1, max(len(kind.holds) for kind in FILES) + 4
    chosen = [KINDS[kind] for kind in with_parts(kinds)]
    return "\n".join(
        f"  {paths[kind.name]:{width}}{kind.holds:{held}}({kind.option or f'--write {kind.name}'})" for kind in chosen
    )


def check_apart(inputs: Iterable[Path], out: Path, layers: Collection[str], shot: str, kinds: Iterable[str]) -> None:
    """Refuse to write where one reads, before anything there is removed.

    Args:
        inputs: files or folders that are read.
        out, layers, shot, kinds: what is written: into `out`, for these layers, deliveries called `shot`.

    Raises:
        ValueError: an input, or its folder, is among what would be written, or `out` is the folder of its frames.
    """
    written = {place.resolve() for kind in with_parts(kinds) for place in KINDS[kind].places(out, layers, shot)}
    for path in inputs:
        place = path.expanduser().resolve()
        folder = place if place.exists() else place.parent  # of a pattern
        if folder == out.expanduser().resolve() or not written.isdisjoint((place, place.parent)):
            raise ValueError(f"{path} lies where this run would write: give another folder to write to than {out}.")
