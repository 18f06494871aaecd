"""What files a delivery has, and their form."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..media.numbering import DIGITS, FIRST_FRAME
from ..names import ExrCompression, ExrForm, ExrFormChoice, ExrType
from ..setting import About, check_values, setting, settings_of
from ..shapes.settings import ShapeSettings
from .layout import DELIVERIES, MATTES_ALONE

_TAKEN_BY = {
    "premultiplied": ("exr", "prores"),
    "exr_type": ("exr", "alpha_exr"),
    "exr_compression": ("exr", "alpha_exr", "cryptomatte"),
    "exr_linear": ("exr", "alpha_exr", "cryptomatte"),
    "sound": ("prores",),
    "exr_form": ("exr",),
}
"""Kinds of files whose form a setting is."""


@dataclass(frozen=True)
class DeliverySettings:
    """What files a delivery has, and their form.

    Attributes:
        kinds: any of
            "alpha", 16-bit grey PNG of each layer's alpha;
            "png16", 16-bit RGBA PNG of each layer, always straight, as the format wants it;
            "exr", one multilayer OpenEXR a frame;
            "prores", a ProRes 4444 .mov of each layer;
            "webm", VP9 with alpha of each layer, always straight, as players take it;
            "alpha_exr", an OpenEXR of each layer's alpha, cropped to what it holds;
            "cryptomatte", one OpenEXR a frame from which layers are picked by name (`media.cryptomatte`);
            "shapes", roto shapes of each layer, as JSON and for Nuke, Silhouette, Blender and After Effects.
        start: number of the first frame, with the others at their distance from it; None keeps the plate's own numbers,
            and counts what has none (a video) from 1001.
        padding: digits of a frame's number at least; None keeps the plate's own, 4 where it has none.
        premultiplied: colour in "prores", and in "exr" of the form "auto", is multiplied by the alpha (as display
            values, and in scene-linear light, respectively); otherwise it is left as it is.
        exr_type: "half", 16-bit floats, or "float", 32-bit, as a Cryptomatte's are always.
        exr_compression: "zip" (16 lines at a time), "zips" (one line), "piz" and "none" are lossless; "dwaa" is
            lossless in the alphas only, and stands for "zip" where mattes have other names.
        exr_linear: EXR holds scene-linear light of the plate's own gamut, otherwise what PNG has. Its header says
            which.
        sound: "prores" has the shot's sound.
        exr_form: "premultiplied", R, G, B times the alpha, and A; "plate", the plate's R, G, B without an A; "matte",
            neither, cropped to what the mattes hold; "packed", the same with four layers in R, G, B and A; "auto" is
            "premultiplied" where `premultiplied` is, else "plate". All but "packed" have `<layer>.A`, and none straight
            colour beside an A, which is against OpenEXR's convention.
        shapes: what those of the kind "shapes" are like.

    Raises:
        ValueError: another kind, type, compression or number.
    """

    kinds: tuple[str, ...] = setting(
        ("exr",),
        About(
            "exr: one multilayer file a frame, for compositing. prores: a ProRes 4444 .mov with alpha for each layer. "
            "webm: VP9 with alpha. png16: 16-bit RGBA. alpha: the alpha alone, 16-bit grey PNG. alpha_exr: the alpha "
            "alone, EXR. cryptomatte: one EXR a frame from which layers are picked by name. shapes: animated roto "
            "shapes for Nuke, Silhouette, Blender and After Effects.",
            noun="delivery's kind",
            choices=DELIVERIES,
        ),
    )
    start: int | None = setting(
        None,
        About(
            "Renumbers frames: number of the first one, the others at their distance from it.",
            noun="first frame number",
            minimum=0,
            maximum=999_999_999,
            none="a sequence's own numbers; all else counts from 1001",
            none_widget=FIRST_FRAME,  # as saved graphs have it
        ),
    )
    padding: int | None = setting(
        None,
        About(
            "Digits of a frame's number at least: 4 writes shot.1001.",
            unit="digits",
            minimum=1,
            maximum=10,
            none="a sequence's own; 4 for all else",
            none_widget=DIGITS,
            rare=True,
        ),
    )
    premultiplied: bool = setting(
        False,
        About(
            "straight leaves colours as they are; premultiplied multiplies those of ProRes, and of EXR (in linear "
            "light), by the alpha. PNG and WebM are straight always."
        ),
    )
    exr_type: ExrType = setting(
        "half",
        About(
            "half: 16 bits, what compositing takes. float: 32 bits, twice as large.", noun="type of an EXR", rare=True
        ),
    )
    exr_compression: ExrCompression = setting(
        "zip",
        About(
            "zip, zips (a line at a time, quick to scrub) and piz (grainy plates) are lossless; dwaa is lossy in the "
            "colours, and small.",
            noun="compression of an EXR",
            rare=True,
        ),
    )
    exr_linear: bool = setting(
        True,
        About(
            "Whether EXR holds scene-linear light, of the plate's own gamut, as compositing expects, or display values "
            "as PNG has them; its header says which.",
            rare=True,
        ),
    )
    sound: bool = setting(
        False,
        About("ProRes has the shot's sound, every track of it without loss, cut to the frames.", rare=True),
    )
    exr_form: ExrFormChoice = setting(
        "auto",
        About(
            "What an EXR has beside each layer's A. premultiplied: RGB times the alpha, and A, which composites as it "
            "is. plate: the plate's RGB untouched, without an A. matte: the mattes alone, cropped to what they hold. "
            "packed: the same, four layers a picture, in R, G, B and A. auto: premultiplied where colours are, else "
            "plate.",
            noun="form of an EXR",
        ),
    )

    shapes: ShapeSettings = field(default_factory=ShapeSettings)

    def __post_init__(self) -> None:
        check_values(DeliverySettings, **vars(self))

    @property
    def lossless_compression(self) -> ExrCompression:
        """That of EXRs whose channels of mattes have names of colours, in which "dwaa" loses."""
        return "zip" if self.exr_compression == "dwaa" else self.exr_compression

    @property
    def form_of_exr(self) -> ExrForm:
        """What `exr_form` comes to."""
        if self.exr_form == "auto":
            return "premultiplied" if self.premultiplied else "plate"
        return self.exr_form

    @property
    def exr_is_cropped(self) -> bool:
        """Whether "exr" holds mattes alone, and of the frame what they hold."""
        return self.form_of_exr in ("matte", "packed")

    @property
    def coloured(self) -> tuple[str, ...]:
        """Kinds that hold colours beside the mattes."""
        alone = (*MATTES_ALONE, *(("exr",) if self.exr_is_cropped else ()))
        return tuple(kind for kind in self.kinds if kind not in alone)


def idle_forms(settings: DeliverySettings) -> list[str]:
    """Sentences on what is set of files that are not written, or cannot be so."""
    known, found = settings_of(DeliverySettings), []
    for name, kinds in _TAKEN_BY.items():
        value = getattr(settings, name)
        if value == known[name].default or {*kinds} & {*settings.kinds}:
            continue
        told = "exr display" if name == "exr_linear" else name.replace("_", " ")
        told += "" if isinstance(value, bool) else f": {value}"
        written = ", ".join(settings.kinds) or "no mattes"
        found.append(f"'{told}' does nothing: it goes with {' or '.join(kinds)}, and what is written is {written}.")
    if settings.form_of_exr == "packed" and "exr" in settings.kinds and settings.exr_compression == "dwaa":
        found.append("'exr compression: dwaa' would lose in R, G, B, where packed EXRs have mattes: they get zip.")
    return found
