"""Grid Engine's answers: those that were captured from 8.1.9, and what a stranger may make of them.

See tests/live/test_runner_sge.py for the real one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshmux import ConfigError, JobState, Reason, Resources
from sshmux.runner.dialects.base import (
    Accepted,
    Dependency,
    Dialect,
    Refused,
    Submission,
    Uncertain,
    Waiting,
)
from sshmux.runner.dialects.gridengine import GridEngine

SGE = GridEngine()
CAPTURED = Path(__file__).parent / "captured"
QUEUE = (CAPTURED / "sge8.1.9-qstat-xml.txt").read_text()
HISTORY = (CAPTURED / "sge8.1.9-qacct.txt").read_text()
PENDING, RUNNING = JobState.PENDING, JobState.RUNNING


def test_it_is_a_dialect() -> None:
    assert isinstance(SGE, Dialect)


def test_the_captured_queue() -> None:
    rows = {row.name: row for row in SGE.parse_queue(QUEUE)}
    assert {name: (row.state, row.reason) for name, row in rows.items()} == {
        "run": (RUNNING, ""),
        "ctrap": (RUNNING, ""),
        "ctx": (RUNNING, ""),
        "toomany": (PENDING, ""),
        "nodir": (PENDING, Reason.ERROR),
        "exit100": (PENDING, Reason.ERROR),
        "exit99": (PENDING, Reason.REQUEUED),
        "held": (PENDING, Reason.HELD),
    }
    run = rows["run"]
    assert (run.native_id, run.user, run.partition, run.nodes) == ("16", "hbash", "main.q", "vm")
    assert run.started == 1795656367.0  # 2026-11-26T01:26:07, in UTC
    assert (rows["exit99"].restarts, run.restarts) == (1, None)


def test_the_captured_accounting() -> None:
    found = [
        (row.name, row.index, row.state, row.reason, row.exit_code, row.signal)
        for row in SGE.parse_history(HISTORY)
    ]
    well = (JobState.COMPLETED, "", 0, None)
    again = (PENDING, Reason.REQUEUED, None, None)
    killed = (JobState.FAILED, "", 137, 9)
    assert found == [
        ("ok", None, *well),
        ("exit3", None, JobState.FAILED, "", 3, None),
        ("exit200", None, JobState.FAILED, "", 200, None),
        ("sig", None, JobState.FAILED, "", 139, 11),
        ("mem", None, *well),
        ("depunknown", None, *well),
        ("arr", 1, JobState.FAILED, "", 1, None),
        ("arr", 2, *well),
        ("arr", 3, JobState.FAILED, "", 1, None),
        ("arr", 4, *well),
        ("nodir", None, JobState.FAILED, Reason.LAUNCH_FAILED, None, None),
        ("soft", None, JobState.FAILED, "", 138, 10),
        ("limit", None, JobState.TIMEOUT, "", None, 9),
        ("exit99", None, *again),
        ("exit100", None, JobState.FAILED, "", 100, None),
        ("noshell", None, *well),
        ("dep", None, *well),
        ("exit99", None, *again),
        ("run", None, *killed),
        ("ctrap", None, *killed),
        ("exit99", None, *again),
    ]


@pytest.mark.parametrize(
    ("tasks", "indices"),
    [
        ("", [None]),
        ("3", [3]),
        ("1-4:1", [1, 2, 3, 4]),
        ("2-9:3", [2, 5, 8]),
        ("3,5,9-11:2", [3, 5, 9, 11]),
        ("x,4,²,5-", [4]),
    ],
)
def test_tasks(tasks: str, indices: list[int | None]) -> None:
    text = f"<job_list><JB_job_number>7</JB_job_number><tasks>{tasks}</tasks></job_list>"
    assert [row.index for row in SGE.parse_queue(text)] == indices


def test_a_range_is_not_followed_for_ever() -> None:
    text = "<job_list><JB_job_number>7</JB_job_number><tasks>1-999999999:1</tasks></job_list>"
    assert len(SGE.parse_queue(text)) == 100_000


@pytest.mark.parametrize(
    "odd",
    [
        "<job_list><JB_job_number>²</JB_job_number></job_list>",
        "<job_list><JB_job_number>7.1</JB_job_number></job_list>",
        "<job_list><JB_name>&lt;/job_list&gt;</JB_name></job_list>",
        "<job_list><JB_job_number>8",
        "<!DOCTYPE a [<!ENTITY a 'b'>]>",
        "\0\x1b[2J",
    ],
)
def test_an_odd_job_spoils_no_other(odd: str) -> None:
    good = "<job_list><JB_job_number>7</JB_job_number><state>r</state></job_list>"
    rows = SGE.parse_queue(f"{good}{odd}")
    assert [row.native_id for row in rows] == ["7"]


@given(st.text(), st.integers(0, len(QUEUE)), st.integers(0, len(HISTORY)))
def test_any_text_at_any_place_is_read(text: str, queue: int, history: int) -> None:
    for rows in (
        SGE.parse_queue(QUEUE[:queue] + text + QUEUE[queue:]),
        SGE.parse_history(HISTORY[:history] + text + HISTORY[history:]),
    ):
        assert all(row.native_id.isascii() and row.native_id.isdigit() for row in rows)
    SGE.parse_partitions(text)
    SGE.parse_details(text)
    SGE.submitted(0, text, "")
    SGE.submitted(1, "", text)


@pytest.mark.parametrize(
    ("status", "out", "err", "answer"),
    [
        (0, "24\n", "", Accepted("24")),
        (0, 'qsub: warning: "-N" has been set\n15.1-4:1\n', "", Accepted("15")),
        (0, "Your job has been submitted\n", "", Uncertain("qsub printed no id")),
        (
            1,
            "",
            'Unable to run job: Job was rejected because job requests unknown queue "nope.q"\n'
            "Exiting.\n",
            Refused('Job was rejected because job requests unknown queue "nope.q"'),
        ),
        (
            1,
            "",
            "Unable to run job: job rejected: Only 10 jobs are allowed per user (current job count:"
            " 10)\nExiting.\n",
            Waiting("Only 10 jobs are allowed per user (current job count: 10)"),
        ),
        (
            1,
            "",
            "error: commlib error: got select error (Connection refused)\nUnable to run job: unable"
            ' to send message to qmaster using port 1 on host "vm": got send error\nExiting.\n',
            Waiting('unable to send message to qmaster using port 1 on host "vm": got send error'),
        ),
        (1, "", 'qsub: invalid option argument "--foo"\n', Refused),
        (1, "", "error: commlib error: got read error (closing)\n", Uncertain),
        (124, "", "", Uncertain),
        (137, "", "", Uncertain),
        (127, "", "sh: qsub: not found\n", Refused),
        (1, "", "", Uncertain),
    ],
)
def test_submit_answers(status: int, out: str, err: str, answer: object) -> None:
    told = SGE.submitted(status, out, err)
    assert type(told) is answer if isinstance(answer, type) else told == answer


def test_the_submit_command() -> None:
    words = SGE.submit(
        Submission(
            token="smaaaaaaaaaaaa",
            directory="/home/a b/j",
            script="/home/a b/j/wrap",
            log="/home/a b/j/log",
            title="-x $(touch owned)",
            array="1-9:2%3",
            resources=Resources(
                cpus_per_task=4, memory="6G", time="1:00:00", partition="long.q", account="phys"
            ),
            after=[Dependency("12", "ok"), Dependency("13_4", "any"), Dependency("13_5", "any")],
        )
    )
    line = " ".join(words)
    assert words[words.index("-wd") + 1] == "/home/a b/j"
    assert words[words.index("-C") + 1] == ""
    for part in (
        "-t 1-9:2 -tc 3",
        "-pe smp 4",
        "-l h_rt=3600,h_vmem=1536M",
        "-q long.q",
        "-P phys",
        "-hold_jid 12,13 ",
        "-r n",
    ):
        assert part in line
    assert "touch" not in line
    assert words[-1] == "/home/a b/j/wrap"
    assert SGE.cancel(["7", "8_3"]) == ["qdel", "7", "8.3"]
    assert SGE.cancel([]) == []


@pytest.mark.parametrize(
    ("array", "resources"),
    [
        ("0-3", Resources()),
        ("1,2,4", Resources()),
        (None, Resources(gpus=1)),
        (None, Resources(qos="high")),
        (None, Resources(nodes=2)),
        (None, Resources(tasks=2)),
    ],
)
def test_what_there_is_no_word_for(array: str | None, resources: Resources) -> None:
    with pytest.raises(ConfigError, match="Grid Engine"):
        SGE.check(array, resources)


def test_partitions() -> None:
    text = """\
CLUSTER QUEUE                   CQLOAD   USED    RES  AVAIL  TOTAL aoACDS  cdsuE
--------------------------------------------------------------------------------
main.q                            1.64      2      0      6      8      0      0
shut.q                            -NA-      0      0      0      4      0      4
"""
    found = {each.name: each for each in SGE.parse_partitions(text)}
    assert {name: each.available for name, each in found.items()} == {
        "main.q": True,
        "shut.q": False,
    }
    assert found["main.q"].details["slots_available"] == "6"
