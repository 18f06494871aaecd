"""Many small records in one buffer."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np


class PackedRecords:
    """Plain values by number, stored as bytes.

    A loader's workers share the buffer with the process that started them, which they would not for Python objects:
    looking at one changes its reference count, and so copies its page of memory.

    Args:
        records: the values.
    """

    def __init__(self, records: Iterable[Any]) -> None:
        stored = [pickle.dumps(record, pickle.HIGHEST_PROTOCOL) for record in records]
        self._ends = np.cumsum([len(each) for each in stored], dtype=np.int64)
        self._buffer = b"".join(stored)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        start = int(self._ends[index - 1]) if index else 0
        return pickle.loads(self._buffer[start : int(self._ends[index])])
