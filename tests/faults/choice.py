"""Which cells of a table are run: all with SSHMUX_FAULTS=all, else a tenth, by a number or the day.

The number, or the day, is printed by a cell that fails: with it there are the same cells again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

SEED = os.environ.get("SSHMUX_FAULTS", "") or time.strftime("%Y%m%d")


def chosen(cells: Sequence[T]) -> Sequence[T]:
    """Those that are to be run."""
    if SEED == "all":
        return cells
    return random.Random(SEED).sample(cells, len(cells) // 10)
