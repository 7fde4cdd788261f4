"""Rows of the store of jobs that another program wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux.runner.records import Records

ROW: dict[str, Any] = {
    "token": "smaaaaaaaaaaaa",
    "cluster": "a",
    "handle": "shell:a:smaaaaaaaaaaaa:/x",
    "key": None,
    "digest": "d",
    "name": "n",
    "spec": None,
    "phase": "planned",
    "tries": 0,
    "not_before": 0,
    "native_id": None,
    "final": 0,
    "status": "",
    "created": 1,
    "updated": 1,
}
HOSTILE: list[dict[str, Any]] = [
    {"handle": "x"},
    {"handle": b"\xff"},
    {"handle": "shell:b:smbbbbbbbbbbbb:/y"},
    {"phase": "zz"},
    {"status": "{"},
    {"status": "[]"},
    {"status": "[" * 100_000},
    {"status": '{"state": "zz"}'},
]


@pytest.mark.parametrize("hostile", range(len(HOSTILE)))
async def test_a_row_that_cannot_be_read_is_told_as_such(hostile: int, tmp_path: Path) -> None:
    records = Records(tmp_path / "jobs.db")
    await records.do(records.all)
    row = ROW | HOSTILE[hostile]
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        marks = ",".join("?" * len(row))
        database.execute(f"INSERT INTO jobs ({','.join(row)}) VALUES ({marks})", [*row.values()])
    with pytest.raises(sshmux.StoreError, match="cannot be read"):
        await records.do(records.all)
    records.close().result()
