"""PBS, Torque and LSF, which were not run live: against what their manuals and users show."""

from __future__ import annotations

import subprocess

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
from sshmux.runner.dialects.lsf import Lsf
from sshmux.runner.dialects.pbs import Pbs, Torque

PBS, TORQUE, LSF = Pbs(), Torque(), Lsf()
ALL = [PBS, TORQUE, LSF]

QSTAT = """\
Job Id: 123.pbs.example
    Job_Name = smaaaaaaaaaaaa
    Job_Owner = ada@login1.example
    job_state = R
    queue = workq
    ctime = Thu Feb 22 14:27:48 2018
    exec_host = n003/0*2+n004/0*2
    Hold_Types = n
    stime = Thu Feb 22 14:27:50 2018
    Variable_List = PBS_O_HOME=/home/ada,PBS_O_LOGNAME=ada,
\tPBS_O_PATH=/usr/bin:/bin,A=b
    Exit_status = 9
    comment = Job run at Thu Feb 22 at 14:27 on (n003:ncpus=2)
    run_count = 2

Job Id: 124[].pbs.example
    Job_Name = smbbbbbbbbbbbb
    job_state = B

Job Id: 124[3].pbs.example
    Job_Name = smbbbbbbbbbbbb
    job_state = X
    Exit_status = 0
"""


def submission(**more: object) -> Submission:
    return Submission("smaaaaaaaaaaaa", "/h/j", "/h/j/wrap", "/h/j/log", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ALL, ids=lambda each: each.name)
def test_it_is_a_dialect(dialect: Dialect) -> None:
    assert isinstance(dialect, Dialect)
    line = f"{dialect.identity}\necho ${{id}}.$task.$restarts"
    env = {
        "PBS_JOBID": "124[3].pbs.example",
        "PBS_ARRAY_INDEX": "3",
        "LSB_JOBID": "77",
        "LSB_JOBINDEX": "0",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("77..0" if dialect is LSF else "124[].3.0")


def test_the_rows_of_pbs() -> None:
    job, array, task = PBS.parse_queue(QSTAT)
    assert (job.native_id, job.user, job.state, job.restarts) == ("123", "ada", JobState.RUNNING, 1)
    assert (job.submitted, job.started) == (1519309668.0, 1519309670.0)
    assert (array.native_id, array.index, array.state) == ("124[]", None, JobState.RUNNING)
    assert (task.native_id, task.index, task.state) == ("124[]", 3, JobState.COMPLETED)
    assert PBS.parse_details(QSTAT)["Variable_List"].endswith("A=b")


@pytest.mark.parametrize(
    ("lines", "state", "reason", "code", "signal"),
    [
        ("job_state = Q", JobState.PENDING, "", None, None),
        ("job_state = H\n    Hold_Types = u", JobState.PENDING, Reason.HELD, None, None),
        (
            "job_state = H\n    Hold_Types = s\n    depend = afterok:1@pbs",
            JobState.PENDING,
            Reason.DEPENDENCY,
            None,
            None,
        ),
        ("job_state = S", JobState.RUNNING, Reason.SUSPENDED, None, None),
        ("job_state = E", JobState.RUNNING, Reason.COMPLETING, None, None),
        ("job_state = ?", JobState.PENDING, "?", None, None),
        ("job_state = F\n    Exit_status = 0", JobState.COMPLETED, "", 0, None),
        ("job_state = C\n    exit_status = 3", JobState.FAILED, "", 3, None),
        ("job_state = F\n    Exit_status = 271", JobState.FAILED, "", None, 15),
        (
            "job_state = F\n    Exit_status = 271\n    substate = 91",
            JobState.CANCELLED,
            "",
            None,
            15,
        ),
        (
            "job_state = F\n    Exit_status = 271\n    comment = job killed: walltime 152 exceeded",
            JobState.TIMEOUT,
            "",
            None,
            None,
        ),
        ("job_state = F\n    Exit_status = -29", JobState.TIMEOUT, "", None, None),
        ("job_state = F\n    Exit_status = -27", JobState.FAILED, Reason.OUT_OF_MEMORY, None, None),
        ("job_state = F\n    Exit_status = -1", JobState.FAILED, Reason.LAUNCH_FAILED, None, None),
        ("job_state = F\n    substate = 91", JobState.CANCELLED, "", None, None),
        ("job_state = F", JobState.LOST, "", None, None),
    ],
)
def test_the_states_of_pbs(
    lines: str, state: JobState, reason: str, code: int | None, signal: int | None
) -> None:
    (row,) = PBS.parse_queue(f"Job Id: 1.s\n    {lines}\n")
    assert (row.state, row.reason, row.exit_code, row.signal) == (state, reason, code, signal)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("7|0|PEND|-|-|-|normal|ada|sm", (None, JobState.PENDING, "", None)),
        ("7|0|PSUSP|-|-|-|normal|ada|sm", (None, JobState.PENDING, "HELD", None)),
        ("7|2|RUN|-|-|n1|normal|ada|sm[2]", (2, JobState.RUNNING, "", None)),
        ("7|0|USUSP|-|-|n1|normal|ada|sm", (None, JobState.RUNNING, "SUSPENDED", None)),
        ("7|0|UNKWN|-|-|n1|normal|ada|sm", (None, JobState.RUNNING, "UNKWN", None)),
        ("7|0|DONE|0|-|n1|normal|ada|sm", (None, JobState.COMPLETED, "", 0)),
        ("7|0|EXIT|3|-|n1|normal|ada|sm", (None, JobState.FAILED, "", 3)),
        (
            "7|0|EXIT|140|TERM_RUNLIMIT: job killed after reaching LSF run time limit|n1|q|ada|sm",
            (None, JobState.TIMEOUT, "", 140),
        ),
        (
            "7|0|EXIT|130|TERM_OWNER: job killed by owner|n1|q|ada|sm",
            (None, JobState.CANCELLED, "", 130),
        ),
        (
            "7|0|EXIT|137|TERM_MEMLIMIT: job killed after reaching LSF memory limit|n|q|ada|sm",
            (None, JobState.FAILED, "OUT_OF_MEMORY", 137),
        ),
    ],
)
def test_the_rows_of_lsf(line: str, told: tuple[int | None, JobState, str, int | None]) -> None:
    odd = "²|0|RUN\n\n7|x\n"
    (row,) = LSF.parse_queue(f"{odd}{line}\n")
    assert (row.index, row.state, row.reason, row.exit_code) == told
    assert (row.name, row.user) == ("sm", "ada")


@pytest.mark.parametrize("dialect", ALL, ids=lambda each: each.name)
@given(st.text(), st.integers(0, 600))
def test_any_text_is_read(dialect: Dialect, text: str, place: int) -> None:
    for row in dialect.parse_queue(QSTAT[:place] + text + QSTAT[place:]):
        assert row.native_id.removesuffix("[]").isdigit()
    dialect.parse_details(text)
    dialect.parse_partitions(text)
    for status in (0, 1, 255):
        dialect.submitted(status, text, "")
        dialect.submitted(status, "", text)


@pytest.mark.parametrize(
    ("dialect", "status", "out", "err", "answer"),
    [
        (PBS, 0, "123.pbs.example\n", "", Accepted("123")),
        (PBS, 0, "warning\n124[].pbs.example\n", "", Accepted("124[]")),
        (PBS, 0, "", "", Uncertain),
        (PBS, 162, "", "qsub: cannot connect to server pbs (errno=111)", Waiting),
        (PBS, 183, "", "qsub: Premature end of message", Uncertain),
        (PBS, 1, "", "qsub: Failed to recv data from background qsub", Uncertain),
        (PBS, 170, "", "qsub: Unknown queue", Refused("Unknown queue")),
        (PBS, 190, "", "qsub: would exceed queue generic's per-user limit", Waiting),
        (PBS, 188, "", "qsub: Job violates queue and/or server resource limits", Refused),
        (PBS, 124, "", "", Uncertain),
        (LSF, 0, "x\nJob <607844> is submitted to queue <medium>.\ny", "", Accepted("607844")),
        (LSF, 0, "Job <7> is submitted to default queue <normal>.", "", Accepted("7")),
        (LSF, 0, "", "no: No such queue. Job not submitted.", Refused),
        (LSF, 255, "", "User's job limit exceeded. Job not submitted.", Waiting),
        (LSF, 124, "", "Cannot connect to LSF. Please wait ...", Uncertain),
        (LSF, 255, "", "", Uncertain),
    ],
)
def test_submit_answers(dialect: Dialect, status: int, out: str, err: str, answer: object) -> None:
    told = dialect.submitted(status, out, err)
    assert type(told) is answer if isinstance(answer, type) else told == answer


def test_the_commands() -> None:
    wanted = submission(
        array="1-9:2%3",
        resources=Resources(
            nodes=2,
            tasks=8,
            cpus_per_task=2,
            memory="6G",
            time="1:00:00",
            gpus=1,
            partition="long",
            account="phys",
        ),
        after=[Dependency("12", "ok"), Dependency("13[]_4", "any")],
    )
    pbs, torque = " ".join(PBS.submit(wanted)), " ".join(TORQUE.submit(wanted))
    assert "-l select=2:ncpus=8:mpiprocs=4:mem=6144mb:ngpus=1 -l walltime=1:00:00" in pbs
    assert "-J 1-9:2%3" in pbs
    assert "-W depend=afterok:12,afterany:13[4]" in pbs
    assert "-l nodes=2:ppn=8:gpus=1 -l mem=12288mb -l walltime=1:00:00" in torque
    assert "-t 1,3,5,7,9%3" in torque
    lsf = LSF.submit(submission(array="1-9:2%3", resources=wanted.resources, after=[
        Dependency("12", "ok"), Dependency("13_4", "failed")]))  # fmt: skip
    assert lsf[lsf.index("-J") + 1] == "smaaaaaaaaaaaa[1-9:2]%3"
    assert lsf[lsf.index("-w") + 1] == "done(12) && exit(13[4])"
    assert "-n 16 -R span[ptile=8] -M 6144MB -R rusage[mem=6144MB] -W 60" in " ".join(lsf)
    assert PBS.cancel(["7", "8[]_3", "9[]"]) == ["qdel", "7", "8[3]", "9[]"]
    assert LSF.cancel(["7", "8_3"]) == ["bkill", "7", "8[3]"]
    with pytest.raises(ConfigError, match="PBS"):
        PBS.check("1,2,9", Resources())
    with pytest.raises(ConfigError, match="LSF"):
        LSF.check("0-3", Resources())


@pytest.mark.parametrize(
    ("out", "err", "status", "told"),
    [
        ("7|0|RUN", "", 0, (0, "7|0|RUN\n")),
        ("", "No job found", 255, (0, "")),
        ("", "No unfinished job found", 0, (0, "")),
        ("", "LSF is down. Please wait ...", 255, (255, "")),
    ],
)
def test_no_jobs_of_lsf_are_no_failure(
    out: str, err: str, status: int, told: tuple[int, str], tmp_path: object
) -> None:
    """The line that is run there; bjobs is a stand-in, as there is none to be had."""
    told_out = f"[ -z '{out}' ] || echo '{out}'"
    bjobs = f"bjobs() {{ {told_out}; echo '{err}' >&2; return {status}; }}; "
    words = LSF.queue("ada")
    words[2] = bjobs + words[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == told


def test_partitions() -> None:
    text = """\
Queue: workq
    queue_type = Execution
    enabled = True
    started = True
    resources_max.walltime = 24:00:00

Queue: shut
    enabled = True
    started = False
"""
    found = {each.name: (each.available, each.time_limit) for each in PBS.parse_partitions(text)}
    assert found == {"workq": (True, 86400.0), "shut": (False, None)}
    table = """\
QUEUE_NAME      PRIO STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP
normal           30  Open:Active       -    -    -    -    10     4     6     0
night            20  Open:Inact        -    -    -    -     0     0     0     0
"""
    queues = {each.name: each.available for each in LSF.parse_partitions(table)}
    assert queues == {"normal": True, "night": False}
