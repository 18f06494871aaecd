"""A list of shots done one after the other: what came of each, and which of several processes does which."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from ..folder_lock import locked
from ..media.writing import write_bytes

TABLE = "batch.csv"
"""In the folder of a batch: a line for each shot that was done."""

_LONGEST_LIST = timedelta(days=30)
_PATIENCE = 100  # tenths of a second; a table is written in much less

State = Literal["done", "there", "defects", "failed"]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Outcome:
    """What came of a shot.

    Attributes:
        name: of its folder.
        shot: its path.
        state: "done" now; "there" already; "defects", done, and quality control found some; "failed".
        frames: how many were written.
        seconds: that it took.
        said: why it failed, or what quality control found.
    """

    name: str
    shot: str
    state: State
    frames: int = 0
    seconds: float = 0.0
    said: str = ""


def share_of(items: Sequence[_Item]) -> list[_Item]:
    """This process's part of a list where several were launched for it, as `accelerate launch` does: each n-th item."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    return [*items[rank::count]]


def wait_for_others() -> None:
    """Wait until all processes that were launched for a list have done their part of it. Launchers end the others as
    soon as one has ended with an error, and a shot that failed is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=_LONGEST_LIST)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def own_device(asked: str) -> str:
    """The device of this process where several were launched and none was asked for: each GPU has one of them."""
    import torch

    place = os.environ.get("LOCAL_RANK")
    if place is None or asked != "auto" or not torch.cuda.is_available():
        return asked
    return f"cuda:{int(place) % torch.cuda.device_count()}"


def note(out: Path, outcome: Outcome, order: Sequence[str]) -> None:
    """Write what came of a shot into the table of a batch; several processes may do so.

    Args:
        out: the batch's folder.
        outcome: of the shot.
        order: names of all shots of the list, in which the table has them.
    """
    for _ in range(_PATIENCE):
        with suppress(_TableHeldError), _table(out):
            known = {row["name"]: row for row in read_table(out)}
            known[outcome.name] = {name: str(value) for name, value in asdict(outcome).items()}
            text = io.StringIO()
            table = csv.DictWriter(text, [one.name for one in fields(Outcome)], extrasaction="ignore")
            table.writeheader()
            listed = [*order, *(name for name in known if name not in order)]
            table.writerows(known[name] for name in listed if name in known)
            write_bytes(out / TABLE, text.getvalue().encode())
            return
        time.sleep(0.1)
    raise RuntimeError(f"Other processes have held {out / TABLE} for too long: remove {out / f'.{TABLE}.lock'}.")


class _TableHeldError(Exception):
    """Another process is writing the table at this moment."""


@contextmanager
def _table(out: Path) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locked(out, "wait for it", TABLE))
        except RuntimeError as error:
            raise _TableHeldError from error
        yield


def read_table(out: Path) -> list[dict[str, str]]:
    """What the table of a batch says so far, a line a shot; [] where there is none, or it is no table."""
    try:
        text = (out / TABLE).read_text("utf-8")
        return [row for row in csv.DictReader(io.StringIO(text)) if row.get("name")]
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return []
