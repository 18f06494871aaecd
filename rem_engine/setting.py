"""A setting's one home: its range, unit and help sentence are metadata of the field of its dataclass.

>>> @dataclass(frozen=True)
... class BlurSettings:
...     radius: int = setting(0, About("Blurs over that much.", unit="pixels", minimum=0, soft=(0, 64)))
...
...     def __post_init__(self) -> None:
...         check_values(type(self), **vars(self))

The field's type says whether it is a number, a switch (bool) or a choice (Literal). Command-line options, widgets of
nodes and the tables of help pages are made from `settings_of`, so a setting is written where it stands and where it is
used, and nowhere else. A new one of the matte stage goes into `matte/settings.py`, after the others, since widgets of
saved graphs go by their order, and into `matte/chain.py`; `make docs` then brings the help pages up to date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_METADATA = "about"
_SWITCH = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


@dataclass(frozen=True)
class About:
    """What stands at a field.

    Attributes:
        help: what it does, whole sentences for someone who sets it.
        noun: what errors call it; the field's name where none is given.
        unit: of its value, in the plural.
        minimum, maximum: the least and the largest value, or that of each number in a tuple; None is no limit. What
            makes work or memory grow has a maximum, which options and widgets share.
        exclusive: `minimum` and `maximum` themselves are no values.
        choices: values it may have, or each of several; those of the field's type where that is a Literal.
        soft: ends of a slider, where a finite or shorter range serves; values beyond are right all the same.
        step: of a slider.
        round: to what a slider rounds.
        none: what it means that the value is None.
        none_widget: what stands for None in a widget, whose value it never is.
        rare: few need it, so that it may be folded away.
    """

    help: str
    noun: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] = ()
    soft: tuple[float, float] | None = None
    step: float | None = None
    round: float | None = None
    none: str = ""
    none_widget: float = 0
    rare: bool = False


@dataclass(frozen=True, kw_only=True)
class Setting(About):
    """All that is known of a field, as `settings_of` gives it.

    Attributes:
        name: of the field.
        kind: bool, int, float, or str for one of `choices`; object for what is none of these. None aside.
        default: its value where none is given.
    """

    name: str
    kind: type
    default: Any

    @property
    def range(self) -> str:
        """Values it may have, in words; "" for any."""
        return _range(self.minimum, self.maximum, self.unit, self.exclusive)

    def check(self, value: Any) -> None:
        """Raise ValueError for a value it cannot have."""
        if value is None and self.default is None:
            return
        if self.choices:
            for chosen in (value,) if self.kind is str else value:
                if chosen not in self.choices:
                    raise ValueError(f"The {self.noun} is one of {', '.join(self.choices)}, not {chosen!r}.")
        elif self.kind in (int, float):
            self._check_number(value)
        elif isinstance(value, tuple) and self.minimum is not None:
            for number in value:
                self._check_number(number)

    def _check_number(self, value: float) -> None:
        if self.kind is float and not math.isfinite(value):
            raise ValueError(f"The {self.noun} is {value}; a finite number is expected.")
        low, high = self.minimum, self.maximum
        above = low is None or value > low or (value == low and not self.exclusive)
        below = high is None or value < high or (value == high and not self.exclusive)
        if not (above and below):
            given = _with_unit(f"{value:g}" if self.kind is float else str(value), self.unit)
            raise ValueError(
                f"{'An' if self.noun[0] in 'aeiou' else 'A'} {self.noun} of {given} is not possible; give {self.range}."
            )

    def of_text(self, text: str) -> Any:
        """A value as a line of text has it: a number, one of `choices`, on or off, or the word for None.

        Raises:
            ValueError: it is none.
        """
        word = text.strip().lower()
        if self.choices and self.kind is str:
            value: Any = word
        elif self.kind is bool and word in _SWITCH:
            value = _SWITCH[word]
        elif self.default is None and word in ({"off", "none"} if self.none == "off" else {self.none}):
            value = None
        else:
            try:
                value = self.kind(word) if self.kind in (int, float) else None
            except ValueError:
                value = None
            if value is None:
                word = f"{self.none} or " if self.default is None and self.none.isalpha() else ""
                number = f"a number, {self.range}," if self.range else "a number"
                what = "on or off" if self.kind is bool else word + number
                raise ValueError(f"The {self.noun} is {text.strip()!r}, and {what} is expected.")
        self.check(value)
        return value

    # A widget's value is never None: in one of a field that may be None, `none_widget` stands for it.

    @property
    def widget_default(self) -> Any:
        """The default as a widget has it."""
        return self.kind(self.none_widget) if self.default is None else self.default

    @property
    def widget_bounds(self) -> tuple[float | None, float | None]:
        """(least, largest) value of a widget."""
        low, high = self.soft or (self.minimum, self.maximum)
        if self.default is None:
            low = self.kind(self.none_widget if low is None else min(self.none_widget, low))
        return low, high

    @property
    def widget_range(self) -> str:
        """What a widget takes, in words; "" for a switch."""
        return ", ".join(self.choices) or _range(*self.widget_bounds, self.unit)

    @property
    def widget_help(self) -> str:
        """What it does, and what the value means that stands for None."""
        return f"{self.help} {_text(self.none_widget)}: {self.none}." if self.default is None else self.help

    def of_widget(self, value: Any) -> Any:
        """The field's value for a widget's."""
        return None if self.default is None and value == self.none_widget else value


def setting(default: T, about: About) -> T:
    """A dataclass's field that is a setting."""
    return field(default=default, metadata={_METADATA: about})


def told_values(settings: Any) -> dict[str, Any]:
    """Values of a dataclass's settings by name, as one who reads them understands them: None by its word."""
    owner: type = type(settings)
    told = {name: (getattr(settings, name), one.none) for name, one in settings_of(owner).items()}
    return {name: word if value is None else value for name, (value, word) in told.items()}


@cache
def settings_of(owner: type) -> Mapping[str, Setting]:
    """Settings of a dataclass by name, in the order of its fields."""
    hints = get_type_hints(owner)
    return {
        one.name: _setting(one.name, hints[one.name], one.default, one.metadata[_METADATA])
        for one in fields(owner)
        if _METADATA in one.metadata
    }


def check_values(owner: type, /, **values: Any) -> None:
    """Check values of a dataclass's settings, by name.

    Raises:
        ValueError: a value out of range.
    """
    settings = settings_of(owner)
    for name, value in values.items():
        if name in settings:
            settings[name].check(value)


def _setting(name: str, hint: Any, default: Any, about: About) -> Setting:
    members = (
        [part for part in get_args(hint) if part is not NoneType] if get_origin(hint) in (UnionType, Union) else [hint]
    )
    kind, known = object, vars(about) | {"noun": about.noun or name.replace("_", " ")}
    if len(members) == 1 and get_origin(members[0]) is Literal:
        if members != [hint]:
            raise TypeError(
                f"{name} is a choice that may be None, for which a widget has no value: add a choice for it."
            )
        kind, known = str, known | {"choices": get_args(members[0])}
    elif members[0] in (bool, int, float):
        kind = members[0]
    return Setting(**known, name=name, kind=kind, default=default)


def _range(low: float | None, high: float | None, unit: str, exclusive: bool = False) -> str:
    if low is None and high is None:
        return ""
    if low is None:
        return f"{'less than' if exclusive else 'at most'} {_with_unit(_text(high or 0.0), unit)}"
    if high is None:
        return f"more than {_with_unit(_text(low), unit)}" if exclusive else f"{_with_unit(_text(low), unit)} or more"
    ends = (_text(low), _with_unit(_text(high), unit))
    return "more than {} and less than {}".format(*ends) if exclusive else "{} to {}".format(*ends)


def _text(number: float) -> str:
    return f"{number:.10g}"


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}" if unit else number
