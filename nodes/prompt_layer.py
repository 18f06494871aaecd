"""PromptLayer: a layer's name, text and settings as the line that Encode Text reads."""

from __future__ import annotations

from comfy_api.latest import io

from ..rem_engine.layers import parse_layers
from .host.schema import advanced, node_schema
from .widgets.checks import first_mistake
from .widgets.layer_settings import checked_layers
from .widgets.matte import NO_PRESET, preset_input


class PromptLayer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="PromptLayer",
            display_name="Layer (REM)",
            description="One layer to segment: what it is called, what it shows, what to leave out. Several follow one "
            "another; the last one goes into Encode Text's text.",
            search_aliases=["layer", "prompt", "negative prompt", "leave out"],
            inputs=[
                io.String.Input("text", placeholder="the smoke", tooltip="What to segment, in plain words."),
                io.String.Input(
                    "name",
                    default="",
                    placeholder="smoke",
                    tooltip="Of its folder and of its channels in an EXR, one word. Empty: made of the text.",
                ),
                io.String.Input(
                    "leave_out",
                    default="",
                    multiline=True,
                    placeholder="the steam from the kettle",
                    tooltip="What to take away from it, in plain words, one thing a line.",
                ),
                preset_input("Settings of Segment Shot's matte stage that suit such a thing, for this layer alone."),
                io.Boolean.Input(
                    "shown", default=True, tooltip="Off leaves the layer out, and keeps what is written here."
                ),
                advanced(
                    io.String.Input(
                        "settings",
                        default="",
                        multiline=True,
                        placeholder="feather: 2",
                        tooltip="Widgets of the matte stage for this layer alone, one a line: 'feather: 2'.",
                    )
                ),
                io.String.Input(
                    "before", optional=True, force_input=True, tooltip="The layers before this one, of another Layer."
                ),
            ],
            outputs=[io.String.Output(display_name="layers", tooltip="The layers so far, a line each.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        text: str | None = None,
        name: str | None = None,
        leave_out: str | None = None,
        settings: str | None = "",
        preset: str | None = NO_PRESET,
    ) -> bool | str:
        if None in (text, name, leave_out, settings):  # linked, and not known yet
            return True
        return first_mistake(lambda: _line_of(text or "", name or "", leave_out or "", settings or "", preset))

    @classmethod
    def execute(
        cls,
        text: str,
        name: str,
        leave_out: str,
        preset: str,
        shown: bool,
        settings: str = "",
        before: str | None = None,
    ) -> io.NodeOutput:
        line = _line_of(text, name, leave_out, settings, preset)
        return io.NodeOutput("\n".join([*(before or "").splitlines(), line if shown else f"# {line}"]))


def _line_of(text: str, name: str, leave_out: str, settings: str, preset: str | None) -> str:
    """`prompt_line` of the widgets; a preset of None is not known yet."""
    chosen = "" if preset in (None, NO_PRESET) else f"preset: {preset}\n"
    return prompt_line(text, name, leave_out, f"{chosen}{settings}")


def prompt_line(text: str, name: str, leave_out: str, settings: str) -> str:
    """The line of a layer, as `parse_layers` reads it.

    Raises:
        ValueError: a text or a name with what parts a line, a line that cannot be read, or that sets what there is not.
    """
    _check_parts(text, name, leave_out)
    lines = [line.strip() for line in leave_out.splitlines() if line.strip()]
    parts = [f"{name.strip()}: {text.strip()}" if name.strip() else text.strip()]
    parts += [f"-{line.removeprefix('-').strip()}" for line in lines]
    line = " | ".join([*parts, *(line.strip() for line in settings.splitlines() if line.strip())])
    checked_layers([line])
    return line


def _check_parts(text: str, name: str, leave_out: str) -> None:
    """Raise ValueError for what a line of prompts would take for something else, in the words of the widgets."""
    for what, given in (("text", text), ("name", name)):
        if "|" in given or "\n" in given.strip():
            raise ValueError(
                f"The {what} {given!r} holds '|' or a new line, which part a line of prompts: leave it out."
            )
    if "|" in leave_out:
        raise ValueError(f"What to leave out, {leave_out!r}, holds '|': write one thing a line.")
    if not text.strip():
        raise ValueError("The text is empty: write what to segment, for example 'the smoke'.")
    called, shows = name.strip(), text.strip()
    for what, given in (("name", called), ("text", "" if called else shows)):
        if given.startswith("#"):
            raise ValueError(
                f"The {what} {given!r} begins with '#', which leaves a line of prompts out: write it without."
            )
    if called:
        return
    if shows.startswith("-"):
        raise ValueError(f"The text {shows!r} begins with '-', as what to leave out does: write that at leave_out.")
    if ":" in shows and not _is_all_text(shows):
        raise ValueError(
            f"The text {shows!r} holds a colon, before which a line of prompts has the layer's name: write a name at "
            "name, or leave the colon out."
        )


def _is_all_text(text: str) -> bool:
    """Whether a line of prompts that has no name is read as this text."""
    try:
        return parse_layers([text])[0].text == text
    except ValueError:
        return False
