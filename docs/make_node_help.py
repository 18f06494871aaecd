"""Brings the tables of settings in the nodes' help pages (web/docs) up to date; `make docs` runs it.

    python -m docs.make_node_help

A page says where a table stands and of which settings; the rows between the two comments are made anew:

    <!-- settings: matte -->                     every setting of the matte stage
    <!-- settings: matte at neutral -->          the same, at first with the values that leave a mask as it is
    <!-- settings: segment window overlap -->    those named
    <!-- end -->

No ComfyUI is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rem_engine.matte.settings import NEUTRAL, MatteSettings
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.segment.settings import MaskSettings, SegmentSettings
from rem_engine.setting import Setting, settings_of

PAGES = Path(__file__).resolve().parents[1] / "web" / "docs"

_TABLE = re.compile(
    r"(?P<head><!-- settings: (?P<owner>\w+)(?P<neutral> at neutral)?(?P<names>[ \w]*) -->\n).*?(?P<foot><!-- end -->)",
    re.DOTALL,
)
OWNERS = {
    "matte": MatteSettings,
    "segment": SegmentSettings,
    "masks": MaskSettings,
    "delivery": DeliverySettings,
    "plate": PlateSettings,
}
_HEADER = ("| widget | at first | range | what it does |", "|---|---|---|---|")


def main() -> None:
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(with_tables(page.read_text("utf-8")), "utf-8")


def with_tables(page: str) -> str:
    """A page's text with the tables that it asks for.

    Raises:
        KeyError: it names settings that are none.
    """
    return _TABLE.sub(lambda found: found["head"] + "\n".join([*_rows(found), found["foot"]]), page)


def _rows(found: re.Match[str]) -> Iterator[str]:
    owner = OWNERS[found["owner"]]
    settings, start = settings_of(owner), NEUTRAL if found["neutral"] else owner()
    yield from _HEADER
    for name in found["names"].split() or settings:
        yield _row(_as_widget(settings[name]), getattr(start, name))


def _as_widget(setting: Setting) -> Setting:
    """A setting as the nodes show it: two widgets stand for the one size."""
    return replace(setting, name="height, width", kind=int) if setting.name == "size" else setting


def _row(setting: Setting, value: Any) -> str:
    first = _text(setting.widget_default if value is None else value)
    values = "on, off" if setting.kind is bool else setting.widget_range
    return f"| {setting.name} | {first} | {values} | {setting.widget_help} |"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
