"""sshmux at work, for human eyes, against a private sshd on the loopback interface.

Exits 1 when a step failed, or when anything was left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from sshmux import Connection, ConnectionLost, ConnectionManager, Event, State
from sshmux.testing import PrivateServer

CLUSTER = 1
POOL_SIZE = 3
TASKS = 8
DEADLINE = 120  # seconds for everything

# What to run, and the exit status to expect. A list is quoted for the remote shell.
COMMANDS: list[tuple[str | list[str], int]] = [
    ("uname -n", 0),
    ('echo "$SSH_CONNECTION"', 0),
    ("exit 3", 3),
    (["printf", "%s", "two words; $HOME `id`"], 0),
]
FIGURES = (
    ("total_connections", "connections now"),
    ("in_use", "in use"),
    ("available", "available"),
    ("requests", "borrowed so far"),
    ("requests_waited", "of these had to wait"),
    ("wait_seconds_max", "longest wait, s"),
    ("dials", "log-ins"),
    ("lost", "connections lost"),
)


class Failure(Exception):
    """The demo did not show what it is there to show."""


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise Failure(otherwise)


class Screen:
    """Tables and colours on a terminal, plain text elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, soft_wrap=True, width=100, no_color=True)
        self.steps = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A heading, what the step prints, and how long it took."""
        self.steps += 1
        self.console.print(f"\n[bold cyan]{self.steps}. {title}[/]")
        begun = time.monotonic()
        outcome = "[red]failed[/]"
        try:
            yield
            outcome = "[green]ok[/]"
        finally:
            self.console.print(f"   {outcome} [dim]after {time.monotonic() - begun:.2f} s[/]")

    def say(self, text: str) -> None:
        for line in text.splitlines():
            self.console.print(f"   {line}", markup=False)

    def table(self, *columns: str) -> Table:
        # Without a terminal there are no lines around the cells.
        style = box.SIMPLE_HEAD if self.console.is_terminal else None
        table = Table(*columns, box=style, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        if columns:
            table.columns[-1].overflow = "fold"
        return table

    def show(self, table: Table) -> None:
        with self.console.capture() as captured:
            self.console.print(table)
        for line in captured.get().splitlines():
            self.console.out(f"   {line.rstrip()}", highlight=False)


class Demo:
    """The steps, in their order."""

    def __init__(self, screen: Screen, directory: Path) -> None:
        self.screen = screen
        self.directory = directory
        self.server = PrivateServer()
        self.manager = ConnectionManager(pool_size=POOL_SIZE)

    async def run(self) -> None:
        async with asyncio.timeout(DEADLINE), contextlib.AsyncExitStack() as stack:
            await self.start_server(stack)
            await self.first_contact(stack)
            await self.commands()
            await self.all_at_once()
            await self.look()
            await self.kill_a_master()
            await self.stop()

    async def start_server(self, stack: contextlib.AsyncExitStack) -> None:
        with self.screen.step("Start a private sshd"):
            await stack.enter_async_context(self.server)
            self.screen.say(repr(self.server))

    async def first_contact(self, stack: contextlib.AsyncExitStack) -> None:
        with self.screen.step("Register it as a cluster, and test the connection"):
            stack.push_async_callback(self.manager.stop)
            await self.manager.start()
            self.server.register(self.manager, CLUSTER)
            expect(await self.manager.test_connection(CLUSTER), "test_connection() says no")
            self.screen.say(repr(self.manager))

    async def commands(self) -> None:
        with self.screen.step("Run commands"):
            table = self.screen.table("command", "exit", "ms", "stdout")
            for command, status in COMMANDS:
                begun = time.monotonic()
                async with self.manager.get_connection(CLUSTER) as conn:
                    result = await conn.run(command)
                took = f"{(time.monotonic() - begun) * 1000:.0f}"
                table.add_row(
                    result.command,
                    str(result.exit_status),
                    took,
                    str(result.stdout).rstrip(),
                )
                expect(result.exit_status == status, f"{command!r} ended with {result!r}")
            self.screen.show(table)

    async def all_at_once(self) -> None:
        with self.screen.step(f"{TASKS} commands at the same time, pool_size={POOL_SIZE}"):
            rows = await asyncio.gather(*(self.one_of_many(n) for n in range(1, TASKS + 1)))
            table = self.screen.table("task", "waited ms", "ran ms", "through the master")
            for row in rows:
                table.add_row(*row)
            self.screen.show(table)
            await self.logins_are(POOL_SIZE)
            self.screen.say(f"sshd counted {self.server.logins} log-ins since it was started")

    async def one_of_many(self, number: int) -> tuple[str, ...]:
        begun = time.monotonic()
        async with self.manager.get_connection(CLUSTER) as conn:
            borrowed = time.monotonic()
            await conn.run("sleep 0.2", check=True)
            ended = time.monotonic()
            waited, ran = (f"{s * 1000:.0f}" for s in (borrowed - begun, ended - borrowed))
            return str(number), waited, ran, str(master_pid(conn))

    async def logins_are(self, count: int) -> None:
        await self.server.wait_for_log(r"^Accepted \S+ for ", count=count)  # written by another
        expect(
            self.server.logins == count,
            f"{self.server.logins} log-ins, {count} were expected:\n{self.server.log}",
        )

    async def look(self) -> None:
        with self.screen.step("Look at the pool"):
            await self.show_metrics()
            await self.show_program("ls", "-l", str(self.manager.control_dir.path))
            await self.show_program(sys.executable, "-m", "sshmux", "ls")

    async def show_metrics(self) -> None:
        metrics = await self.manager.get_connection_metrics(CLUSTER)
        table = self.screen.table("get_connection_metrics()", "")
        for key, meaning in FIGURES:
            value = metrics[key]
            table.add_row(meaning, f"{value:.3f}" if isinstance(value, float) else str(value))
        self.screen.show(table)

    async def show_program(self, *argv: str) -> None:
        shown = ["sshmux", *argv[3:]] if argv[0] == sys.executable else argv
        self.screen.say(f"$ {' '.join(shown)}")
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        self.screen.say(output.decode(errors="replace"))
        expect(process.returncode == 0, f"{' '.join(shown)} ended with {process.returncode}")

    async def kill_a_master(self) -> None:
        with self.screen.step("kill -9 one master while it is lent"):
            async with self.manager.get_connection(CLUSTER) as conn:
                event = await self.kill(master_pid(conn))
                old, new = (state.value if state else "-" for state in (event.old, event.new))
                self.screen.say(f"{old} -> {new}: {event.reason}")
                try:
                    await conn.run("true")
                except ConnectionLost as error:
                    self.screen.say(f"its borrower is told: {error}")
                else:
                    raise Failure("a command ran on a master that is dead")
        with self.screen.step("Recover"):
            async with contextlib.AsyncExitStack() as borrowed:
                for _ in range(POOL_SIZE):
                    conn = await borrowed.enter_async_context(self.manager.get_connection(CLUSTER))
                    await conn.run("true", check=True)
            await self.logins_are(POOL_SIZE + 1)
            self.screen.say(f"all {POOL_SIZE} connections work, with one log-in more")
            await self.show_metrics()

    async def kill(self, pid: int) -> Event:
        """Kills a master; returns the event in which the pool says so."""
        noticed: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def watch(event: Event) -> None:
            if event.new in (State.UNHEALTHY, State.CLOSED) and not noticed.done():
                noticed.set_result(event)

        unsubscribe = self.manager.subscribe(watch)
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        try:
            async with asyncio.timeout(5):
                event = await noticed
        except TimeoutError:
            raise Failure("the pool did not notice within 5 s") from None
        finally:
            unsubscribe()
        took = (time.monotonic() - begun) * 1000
        self.screen.say(f"killed process {pid}; the pool noticed after {took:.1f} ms")
        return event

    async def stop(self) -> None:
        with self.screen.step("Stop the manager"):
            before = processes_of(self.directory)
            await self.manager.stop()
            # Now, while sshd still runs: its end would end a forgotten master, too.
            nothing_is_left(self.directory)
            self.screen.say(f"{len(before)} processes before, none now; no socket, no file")


def master_pid(conn: Connection) -> int:
    pid = conn.get_extra_info("master_pid")
    expect(isinstance(pid, int), f"no master_pid, but {pid!r}")
    return int(pid)


def processes_of(directory: Path) -> list[psutil.Process]:
    """Those with the control directory on their command line: every master, client and helper."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if directory.name in " ".join(process.info["cmdline"] or ())
    ]


def nothing_is_left(directory: Path) -> None:
    left = [f"process {process}" for process in processes_of(directory)]
    left += [f"file {path}" for path in sorted(directory.rglob("*"))]
    expect(not left, "left behind:\n" + "\n".join(left))


def no_child_is_left() -> None:
    left = psutil.Process().children(recursive=True)
    expect(not left, "left behind:\n" + "\n".join(map(str, left)))


def main() -> int:
    screen = Screen()
    # Not in $TMPDIR, which is too long a path for a socket on macOS.
    directory = Path(tempfile.mkdtemp(prefix="sshmux-demo-", dir="/tmp"))
    os.environ["SSHMUX_DIR"] = str(directory)
    failures: list[str] = []
    try:
        try:
            asyncio.run(Demo(screen, directory).run())
        except KeyboardInterrupt:
            failures.append("interrupted")
        except Failure as error:
            failures.append(str(error))
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        try:
            with screen.step("Is anything left, sshd included?"):
                nothing_is_left(directory)
                no_child_is_left()
                screen.say("nothing")
        except Failure as error:
            failures.append(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for failure in failures:
        screen.console.print(f"\nFAILED: {failure}", style="bold red", markup=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
