"""Options made from settings, and the groups of them that `segment` and `matte` share."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from ..matte import MatteSettings
from ..matte.presets import PRESETS, PresetName, preset_values
from ..media.plate_settings import PlateSettings
from ..names import GIVEN_MODES, LONGEST_FILE_NAME, names_a_file
from ..run.delivery_settings import DeliverySettings
from ..run.naming import FIELDS, check_template, is_template
from ..segment.settings import SegmentSettings
from ..setting import Setting, settings_of
from ..shapes.settings import ShapeSettings
from .command_line import a_path


def add_option(parser: argparse._ActionsContainer, setting: Setting, *names: str, **options: Any) -> None:
    """Add the option of a setting.

    Args:
        parser: or a group of one.
        setting: of a dataclass.
        names: of the option; without them it is named after the setting.
        options: what argparse is to take instead of what the setting says.
    """
    names = names or (f"--{setting.name.replace('_', '-')}",)
    text = _lower(setting.help.removesuffix(".")).replace("%", "%%")
    if setting.kind is bool:
        # A switch that is on by default is given to turn it off.
        if setting.default and not {"action", "help"} & options.keys():
            names = tuple(f"--no-{name.removeprefix('--')}" for name in names)
            text = f"not so: {text}"
        switch = {"dest": setting.name, "action": "store_false" if setting.default else "store_true", "help": text}
        parser.add_argument(*names, **(switch | options))
        return
    default = setting.none if setting.default is None else setting.default
    made: dict[str, Any] = {
        "dest": setting.name,
        "default": setting.default,
        "help": f"{text} ({default:g})" if isinstance(default, float) else f"{text} ({default})",
    }
    if setting.kind is str:
        made["choices"] = setting.choices
    else:
        made |= {"type": setting.kind, "metavar": _metavar(setting)}
        if setting.none == "auto":
            made |= {"type": partial(_number_or_auto, setting), "metavar": f"auto|{made['metavar']}"}
    parser.add_argument(*names, **(made | options))


def add_plate_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field of `PlateSettings`."""
    group = parser.add_argument_group("plate options", "What is read of the shot, and how.")
    for name, setting in settings_of(PlateSettings).items():
        free = {"type": str, "metavar": "RANGE" if name == "frames" else "NAME"}
        text = {"help": _lower(setting.help.removesuffix("."))} if setting.default == "" else {}
        add_option(group, setting, **(free if setting.kind is object else {}), **text)


def plate_settings(options: argparse.Namespace) -> PlateSettings:
    """How the shot is to be read."""
    return PlateSettings(**{name: getattr(options, name) for name in settings_of(PlateSettings)})


def add_segment_options(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """Add options for fields of `SegmentSettings`, all or those named."""
    forms: dict[str, dict[str, Any]] = {
        "size": {"metavar": "HxW", "type": _size},
        "cuts": {"metavar": "auto|none|N,N", "type": _cut_list},
    }
    for name, setting in settings_of(SegmentSettings).items():
        if names is None or name in names:
            add_option(parser, setting, **forms.get(name, {}))


def add_matte_options(parser: argparse.ArgumentParser, threshold: Sequence[str] = ("--matte-threshold",)) -> None:
    """Add the presets, and an option for every field of `MatteSettings`; `threshold` are the names of the one for its
    threshold."""
    group = parser.add_argument_group("matte options", "What happens to masks on the way to mattes. Lengths in pixels.")
    group.add_argument(
        "--preset",
        choices=get_args(PresetName),
        help=f"settings that suit such a thing, where no option here says otherwise; {_told_presets()} (none)",
    )
    for name, setting in settings_of(MatteSettings).items():
        names = threshold if name == "threshold" else ()
        # What is not given is not in the namespace, so that a preset may say it.
        add_option(group, setting, *names, dest=_matte_dest(name), default=argparse.SUPPRESS)


def matte_settings(options: argparse.Namespace) -> MatteSettings:
    """The settings that were asked for.

    Raises:
        ValueError: a value out of range.
    """
    preset = preset_values(options.preset) if options.preset else {}
    given = {name: getattr(options, _matte_dest(name)) for name in _given_matte_options(options)}
    return MatteSettings(**{**preset, **given})


def asked_of_mattes(options: argparse.Namespace) -> frozenset[str]:
    """Names of the settings of the matte stage that were given, and "preset" where one was."""
    return frozenset(_given_matte_options(options)) | ({"preset"} if options.preset else set())


def _given_matte_options(options: argparse.Namespace) -> list[str]:
    return [name for name in settings_of(MatteSettings) if hasattr(options, _matte_dest(name))]


def add_given_options(parser: argparse.ArgumentParser, modes: Mapping[str, str]) -> None:
    """Add options for mattes that are given beside the layers' own: by mode what it does."""
    forms = (
        "a picture for all frames, a sequence, a video, or a box left,top,width,height; LAYER= for one layer, "
        ":CHANNEL behind a file (R, A, luma, ...) for one of its channels"
    )
    for mode, does in modes.items():
        parser.add_argument(
            f"--{mode.replace('_', '-')}",
            metavar="[LAYER=]MATTE[:CHANNEL]",
            action="append",
            default=[],
            help=f"{does}: {forms}",
        )


def given_mattes(options: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """What was given of these, by mode."""
    return {mode: tuple(texts) for mode in GIVEN_MODES if (texts := getattr(options, mode))}


def add_out_options(parser: argparse.ArgumentParser) -> None:
    """Add where to write, and what may be replaced there."""
    parser.add_argument(
        "-o", "--out", metavar="OUT", type=a_path, required=True, help="folder to write to; made if it is not there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files in OUT that no run has written, too")
    parser.add_argument("--again", action="store_true", help="begin anew where OUT has the same run, whole or stopped")


def add_device_option(parser: argparse.ArgumentParser, several: str = "") -> None:
    """Add where to compute, and what several devices do."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        type=str.lower,
        help="where to compute: auto (a CUDA GPU if there is one), cpu, cuda:1, mps, or whatever torch takes"
        f"{several} (auto)",
    )


def add_delivery_options(parser: argparse.ArgumentParser) -> None:
    """Add the form of deliveries; their kinds are a command's own option."""
    group = parser.add_argument_group("delivery options", "Names and numbers of files, and the form of mattes.")
    group.add_argument(
        "--name",
        type=_file_name,
        default="",
        help="with what the names of files begin (the plate's own); or a template of them, as in "
        "{show}_{seq}_{shot}_{layer}_v{version:03}.{frame}, whose version is the next that OUT does not have",
    )
    group.add_argument(
        "--field",
        metavar="FIELD=VALUE",
        dest="fields",
        action="append",
        type=_field,
        default=[],
        help="what stands for a field of that template: show=AGM, version=3; shot is the plate's name if not given",
    )
    for name, setting in settings_of(DeliverySettings).items():
        if name == "exr_linear":
            text = "exr holds display values, as png16 has them, otherwise scene-linear light; its header says which"
            add_option(group, setting, "--exr-display", help=text)
        elif name != "kinds":
            add_option(group, setting)
    shapes = parser.add_argument_group("shape options", "What roto shapes are like (--write shapes).")
    for setting in settings_of(ShapeSettings).values():
        add_option(shapes, setting)


def delivery_settings(options: argparse.Namespace, kinds: tuple[str, ...]) -> DeliverySettings:
    """The form of deliveries that was asked for.

    Raises:
        ValueError: a value out of range.
    """
    form = {name: getattr(options, name) for name in settings_of(DeliverySettings) if name != "kinds"}
    shapes = ShapeSettings(**{name: getattr(options, name) for name in settings_of(ShapeSettings)})
    return DeliverySettings(kinds, **form, shapes=shapes)


def kinds_among(choices: Sequence[str], text: str) -> tuple[str, ...]:
    """Kinds of files joined by commas, in the order of `choices`; for argparse.

    Raises:
        argparse.ArgumentTypeError: another kind.
    """
    chosen = [kind.strip().lower() for kind in text.split(",")]
    unknown = [kind for kind in chosen if kind not in choices]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} cannot be written: choose from {','.join(choices)}")
    return tuple(kind for kind in choices if kind in chosen)


def _cut_list(text: str) -> str | tuple[int, ...]:
    if text.lower() == "auto":
        return "auto"
    frames = [] if text.lower() == "none" else text.split(",")
    if not all(frame.strip().isdecimal() for frame in frames):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cuts: give auto, none, or frames such as 120,305")
    return tuple(int(frame) for frame in frames)


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in FIELDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no field: give one of {', '.join(FIELDS)}, as in show=AGM")
    return name, value


def _file_name(text: str) -> str:
    if is_template(text):
        try:
            check_template(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error
    if text and (not names_a_file(text) or text.startswith(".")):
        raise argparse.ArgumentTypeError(f"{text!r} cannot begin the name of a file: give a name such as shot_010")
    if (length := len(text.encode("utf-8", "replace"))) > LONGEST_FILE_NAME:
        raise argparse.ArgumentTypeError(
            f"a name of {length} bytes is too long: up to {LONGEST_FILE_NAME} are possible"
        )
    return text


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give height and width, for example 256x448")
    return int(height), int(width)


def _told_presets() -> str:
    """What each preset sets beside refine auto, the default: `smoke: edges soft, smooth 2`."""
    told = {
        name: ", ".join(
            option if value is True else f"{option} {value}" for option, value in values.items() if value is not None
        )
        for name, values in PRESETS.items()
    }
    return "; ".join(f"{name}: {text}" for name, text in told.items())


def _matte_dest(name: str) -> str:
    return f"matte_{name}"  # `segment` has a threshold of its own


def _number_or_auto(setting: Setting, text: str) -> Any:
    """What a setting of numbers is, None for auto; for argparse."""
    try:
        return setting.of_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _metavar(setting: Setting) -> str:
    if setting.unit == "pixels":
        return "PX"
    return "N" if setting.kind is int else "X"


def _lower(text: str) -> str:
    """A sentence begun as other options' help is, in lower case; EXR stays."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
