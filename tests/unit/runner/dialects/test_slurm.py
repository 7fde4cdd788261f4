"""Slurm's answers are foreign text: what cannot be read is left out, and spoils nothing else."""

from __future__ import annotations

import pytest

from sshmux.runner.dialects.slurm import Slurm

ODD = ["", "²", "٣", "9" * 5000, "-1", "1e3", "x"]
GOOD = "7|7|N/A|RUNNING|None|1700000000|1700000001|N/A|main|n1|me|smaaaaaaaaaaaa"


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("cell", range(11))
def test_an_odd_cell_of_the_queue_spoils_no_other_row(odd: str, cell: int) -> None:
    cells = GOOD.split("|")
    cells[cell] = odd
    rows = Slurm().parse_queue("|".join(cells) + "\n" + GOOD + "\n")
    assert rows[-1].native_id == "7"
    assert rows[-1].index is None
    assert all(row.native_id.isascii() and len(row.native_id) <= 12 for row in rows)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("cell", range(9))
def test_an_odd_cell_of_the_history_spoils_no_other_row(odd: str, cell: int) -> None:
    good = "7|COMPLETED|0:0|None|1700000000|1700000001|1700000002|n1|main|smaaaaaaaaaaaa"
    cells = good.split("|")
    cells[cell] = f"{odd}:{odd}" if cell == 2 else odd
    rows = Slurm().parse_history("|".join(cells) + "\n" + good + "\n")
    assert (rows[-1].native_id, rows[-1].exit_code) == ("7", 0)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_partition_spoils_no_other(odd: str) -> None:
    lines = [f"odd|up|{odd}-00:10:00|1|idle|n1", f"odd|up|{odd}|{odd}|idle|n1"]
    text = "\n".join([*lines, "main*|up|1-00:00:10|2|idle|n1"])
    found = {each.name: each for each in Slurm().parse_partitions(text)}
    assert found["odd"].time_limit is None
    assert (found["main"].time_limit, found["main"].nodes) == (86410.0, 2)
