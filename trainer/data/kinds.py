"""The layouts of datasets there are; `open` reads each of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

DatasetKind: TypeAlias = Literal["refcoco", "ref_ytvos", "mevis", "ref_davis17", "folder", "synth"]
