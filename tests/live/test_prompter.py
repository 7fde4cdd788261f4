"""A user answers: the program's prompter, what it is told, and what happens when it is not."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import sshmux
from sshmux import Prompt
from sshmux.testing import PrivateServer

from ..support import helpers, managed, nap, sleepers, until

KBDINT = {"login_shell": "/bin/sh", "password": "pw", "methods": "keyboard-interactive"}
NO_KEY: dict[str, Any] = {"key_file": None}


class User:
    """Answers from a list, and remembers what was asked; declines when the list is empty."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> str | None:
        self.asked.append(prompt)
        return self.answers.pop(0) if self.answers else None


async def use(manager: sshmux.ConnectionManager, cluster: object = 1) -> str:
    async with manager.get_connection(cluster) as connection:  # type: ignore[arg-type]
        return str((await connection.run("echo in")).stdout)


@pytest.mark.parametrize("methods", ["password", "keyboard-interactive"])
async def test_a_user_may_mistype(methods: str) -> None:
    user = User("wrong", "pw")
    async with PrivateServer(login_shell="/bin/sh", password="pw", methods=methods) as server:
        async with managed(server, register=NO_KEY, prompter=user) as manager:
            assert await use(manager) == "in\n"
        assert (server.logins, server.failed_logins, server.connections) == (1, 1, 1)
    first, second = user.asked
    who = f"{server.username}@127.0.0.1"
    assert [prompt.attempt for prompt in user.asked] == [1, 2]
    assert (first.kind, first.who, first.echo, first.cluster_id) == ("password", who, False, 1)
    assert first.text == (f"{who}'s password: " if methods == "password" else f"({who}) Password: ")
    assert first.host == f"{who}:{server.port}"
    assert first.deadline is not None
    assert 100 < first.deadline - time.time() < 121
    assert second.kind == "password"


async def test_what_is_stored_comes_first_and_a_user_mends_it() -> None:
    user = User("pw")
    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=user) as manager:
            manager.set_password(1, "outdated")
            assert await use(manager) == "in\n"
            assert (server.logins, server.failed_logins) == (1, 1)
            assert [prompt.attempt for prompt in user.asked] == [2]
            await manager.disconnect(1)
            manager.set_password(1, "pw")
            assert await use(manager) == "in\n"
            assert len(user.asked) == 1


async def test_whoever_declines_is_not_asked_again_until_somebody_wants_it() -> None:
    user = User()
    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=user) as manager:
            results = await asyncio.gather(
                *(use(manager) for _ in range(8)), return_exceptions=True
            )
            assert {type(result) for result in results} == {sshmux.PromptDeclined}
            assert isinstance(results[0], sshmux.PermissionDenied)
            assert "it was declined" in str(results[0])
            assert (len(user.asked), server.connections, server.failed_logins) == (1, 1, 0)
            with pytest.raises(sshmux.PromptDeclined):
                await use(manager)
            assert len(user.asked) == 1
            user.answers = ["pw"]
            async with await manager.connect(1) as connection:  # asked for by hand
                assert (await connection.run("echo in")).stdout == "in\n"
            assert len(user.asked) == 2


async def test_a_users_time_is_not_the_log_ins() -> None:
    async def slow(prompt: Prompt) -> str:
        await asyncio.sleep(1.5)
        return "pw"

    async with PrivateServer(**KBDINT) as server:
        register = {**NO_KEY, "timeout": 1.2}
        async with managed(server, register=register, prompter=slow) as manager:
            assert await use(manager) == "in\n"


async def test_a_users_time_is_not_the_borrowers_either(tmp_path: Path) -> None:
    async def slow(prompt: Prompt) -> str:
        late.append(asyncio.ensure_future(use(manager)))  # one more comes while it is asked
        await asyncio.sleep(2.2)
        return "pw"

    late: list[asyncio.Future[str]] = []
    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=slow, acquire_timeout=2) as manager:
            assert await asyncio.gather(use(manager), use(manager)) == ["in\n"] * 2
            assert await late[0] == "in\n"

            async def keep() -> None:
                async with manager.get_connection(1):
                    await asyncio.sleep(1.5)

            keeper = asyncio.ensure_future(keep())
            await asyncio.sleep(0.1)
            with pytest.raises(sshmux.AcquireTimeout):  # nobody is asked: the time runs
                async with manager.get_connection(1, timeout=0.2):
                    pass
            await keeper
    async with (
        PrivateServer(
            login_shell="/bin/sh", password="pw", methods="publickey,keyboard-interactive"
        ) as jump,
        PrivateServer(login_shell="/bin/sh") as server,
    ):
        late.clear()
        config = tmp_path / "config"
        config.write_text(
            f"Host {server.alias}\n    ProxyJump {jump.alias}\nHost *\n"
            f"Include {jump.config_file}\nInclude {server.config_file}\n"
        )
        register = {"host": server.alias, "port": 22, "config_file": config}
        async with managed(
            server, register=register, prompter=slow, acquire_timeout=2, pool_size=1
        ) as manager:
            assert await use(manager) == "in\n"
            assert await late[0] == "in\n"


async def test_a_user_has_a_limit_of_their_own() -> None:
    cancelled = []

    async def absent(prompt: Prompt) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(prompt)
            raise
        return ""

    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=absent, prompt_timeout=0.3) as manager:
            with pytest.raises(sshmux.PromptDeclined, match=r"nobody answered within 0\.3 s"):
                await use(manager)
    assert len(cancelled) == 1


@pytest.mark.parametrize("how", ["cancel", "borrow", "stop", "disconnect", "unregister"])
async def test_ending_while_a_user_is_asked_ends_everything(how: str) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def waiting(prompt: Prompt) -> str:
        asked.set()
        try:
            await asyncio.sleep(3600)
        finally:
            gone.set()
        return ""

    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=waiting) as manager:
            task = asyncio.ensure_future(
                manager.connect(1) if how == "cancel" else use(manager)  # type: ignore[arg-type]
            )
            await asked.wait()
            assert len(helpers()) == 1
            if how == "cancel":
                task.cancel()
            elif how == "borrow":
                other = asyncio.ensure_future(use(manager))
                await asyncio.sleep(0.05)
                other.cancel()
                await asyncio.wait((other,))
                assert not gone.is_set()  # somebody still waits for the answer
                task.cancel()
            elif how == "stop":
                await manager.stop()
            elif how == "disconnect":
                await manager.disconnect(1)
            else:
                await manager.unregister_cluster(1)
            with pytest.raises((asyncio.CancelledError, sshmux.Error)):
                await task
            assert gone.is_set()
            assert helpers() == []
        await server.wait_for_log("Connection (closed|reset) by")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RuntimeError("boom"), "RuntimeError"),
        (7, "TypeError"),
        ("two\nlines", "ValueError"),
        ("x" * 1001, "ValueError"),
    ],
)
async def test_a_prompter_that_fails_is_the_cause(answer: Any, words: str) -> None:
    async def broken(prompt: Prompt) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=broken) as manager:
            with pytest.raises(sshmux.PromptDeclined, match=words) as caught:
                await use(manager)
            assert type(caught.value.__cause__).__name__ == words
            assert server.connections == 1


async def test_a_server_that_leaves_while_a_user_thinks() -> None:
    """ssh notices when it gets the answer. It is lost, and nobody is asked for another one."""
    asked = []

    async def thinking(prompt: Prompt) -> str:
        asked.append(prompt)
        server.drop_connections()
        return "pw"

    async with PrivateServer(**KBDINT) as server:
        async with managed(server, register=NO_KEY, prompter=thinking) as manager:
            with pytest.raises(sshmux.ServerHungUp):
                await use(manager)
            assert (len(asked), server.connections) == (1, 1)


# Host keys


@pytest.mark.parametrize("answer", ["yes", "fingerprint"])
async def test_a_user_may_confirm_a_host_key(answer: str, tmp_path: Path) -> None:
    class Careful(User):
        async def __call__(self, prompt: Prompt) -> str | None:
            self.asked.append(prompt)
            return prompt.fingerprint if answer == "fingerprint" else answer  # type: ignore[attr-defined]

    user, known = Careful(), tmp_path / "known_hosts"
    async with PrivateServer(login_shell="/bin/sh") as server:
        register = {"known_hosts_file": known}
        async with managed(server, register=register, prompter=user) as manager:
            assert await use(manager) == "in\n"
            await manager.disconnect(1)
            assert await use(manager) == "in\n"
    (prompt,) = user.asked
    assert prompt.kind == "host-key"
    assert prompt.fingerprint.startswith("SHA256:")  # type: ignore[attr-defined]
    assert prompt.fingerprint in prompt.text  # type: ignore[attr-defined]
    assert "127.0.0.1" in prompt.key_of  # type: ignore[attr-defined]
    assert known.read_text().count("\n") >= 1


async def test_a_host_key_that_a_user_does_not_confirm(tmp_path: Path) -> None:
    user = User("no", None)
    async with PrivateServer(login_shell="/bin/sh") as server:
        register = {"known_hosts_file": tmp_path / "none"}
        async with managed(server, register=register, prompter=user) as manager:
            for _ in range(2):
                with pytest.raises(sshmux.HostKeyUnknown):
                    await manager.connect(1)
            assert (len(user.asked), server.logins) == (2, 0)
            with pytest.raises(sshmux.HostKeyUnknown, match="declined"):
                await use(manager)
            with pytest.raises(sshmux.HostKeyUnknown, match="declined"):
                await use(manager)
            assert len(user.asked) == 2  # the refusal stands
    assert not (tmp_path / "none").exists()


async def test_ssh_config_may_be_stricter_than_asking(tmp_path: Path) -> None:
    user, config = User("yes"), tmp_path / "config"
    async with PrivateServer(login_shell="/bin/sh") as server:
        config.write_text(f"Host *\n    StrictHostKeyChecking yes\nInclude {server.config_file}\n")
        register = {"known_hosts_file": tmp_path / "none", "config_file": config}
        async with managed(server, register=register, prompter=user) as manager:
            with pytest.raises(sshmux.HostKeyUnknown):
                await use(manager)
    assert user.asked == []


# Keys with a passphrase


def encrypt(key: Path, passphrase: str) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", passphrase, "-f", key], check=True)


async def test_a_passphrase_is_stored_by_its_key_or_typed() -> None:
    user = User("wrong", "two words")
    async with PrivateServer(login_shell="/bin/sh") as server:
        encrypt(server.key_file, "two words")
        async with managed(server, prompter=user) as manager:
            assert await use(manager) == "in\n"
            assert [(prompt.kind, prompt.who) for prompt in user.asked] == [("passphrase", "")] * 2
            assert user.asked[0].key == str(server.key_file)  # type: ignore[attr-defined]
            await manager.disconnect(1)
            manager.set_passphrase(server.key_file, "two words", keyring=False)
            assert await use(manager) == "in\n"
            assert len(user.asked) == 2
            manager.delete_passphrase(server.key_file)
        async with managed(server) as manager:
            manager.set_passphrase(server.key_file, "two words", keyring=False)
            assert await use(manager) == "in\n"


async def test_without_anybody_an_encrypted_key_is_a_refused_log_in() -> None:
    async with PrivateServer(login_shell="/bin/sh") as server:
        encrypt(server.key_file, "two words")
        async with managed(server) as manager:
            with pytest.raises(sshmux.PermissionDenied):
                await use(manager)


# One log-in serves many


async def many(manager: sshmux.ConnectionManager, count: int) -> None:
    async def job(number: int) -> str:
        async with manager.get_connection(1) as connection:
            return str((await connection.run(f"sleep 0.05; echo {number}")).stdout)

    assert await asyncio.gather(*map(job, range(count))) == [f"{n}\n" for n in range(count)]


async def test_a_typed_log_in_serves_everybody() -> None:
    user = User("pw")
    async with PrivateServer(**KBDINT) as server:
        async with managed(
            server, register=NO_KEY, prompter=user, pool_size=5, sessions_per_connection=8
        ) as manager:
            await many(manager, 40)
            assert (server.logins, len(user.asked)) == (1, 1)


async def test_more_than_one_typed_log_in_only_if_wanted_and_one_at_a_time() -> None:
    now_asked = []
    most = 0

    async def user(prompt: Prompt) -> str:
        nonlocal most
        now_asked.append(prompt)
        most = max(most, len(now_asked))
        await asyncio.sleep(0.1)
        now_asked.pop()
        return "pw"

    async with PrivateServer(**KBDINT) as server:
        async with managed(
            server, register=NO_KEY, prompter=user, pool_size=5, one_time_pool_size=3
        ) as manager:
            long = nap()
            tasks = [asyncio.ensure_future(_hold(manager, long)) for _ in range(5)]
            await until(lambda: len(sleepers(long)) == 3)
            await asyncio.sleep(0.3)  # time enough for a fourth
            assert (server.logins, len(sleepers(long))) == (3, 3)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert most == 1


async def test_a_typed_log_in_grows_neither_old_nor_idle() -> None:
    user = User("pw")
    async with PrivateServer(**KBDINT) as server:
        async with managed(
            server, register=NO_KEY, prompter=user, max_age=0.2, max_idle=0.2, health_interval=0.1
        ) as manager:
            assert await use(manager) == "in\n"
            await asyncio.sleep(0.6)  # three times as long as would end another one
            assert await use(manager) == "in\n"
    assert len(user.asked) == 1


async def test_a_lost_typed_log_in_is_not_replaced_behind_anybodys_back() -> None:
    user = User("pw", "pw")
    async with PrivateServer(**KBDINT) as server:
        async with managed(
            server, register=NO_KEY, prompter=user, health_interval=0.1, max_health_failures=1
        ) as manager:
            assert await use(manager) == "in\n"
            server.drop_connections()

            async def closed() -> bool:
                return (await manager.get_connection_metrics(1))["total_connections"] == 0

            while not await closed():
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)  # health checks come and go
            assert len(user.asked) == 1
            assert await use(manager) == "in\n"
            assert len(user.asked) == 2


async def test_keys_are_as_parallel_as_ever_with_a_prompter() -> None:
    user = User()
    async with PrivateServer(login_shell="/bin/sh") as server:
        async with managed(server, prompter=user, pool_size=3) as manager:
            long = nap()
            tasks = []
            for _ in range(3):
                tasks.append(asyncio.ensure_future(_hold(manager, long)))
            await until(lambda: len(sleepers(long)) == 3)
            assert server.logins == 3
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert user.asked == []


async def _hold(manager: sshmux.ConnectionManager, seconds: str) -> None:
    async with manager.get_connection(1) as connection:
        await connection.run(f"sleep {seconds}")


async def test_what_is_typed_is_nowhere_to_be_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2-typed-secret"
    prompter: Callable[[Prompt], Awaitable[str | None]] = User(secret, "wrong-" + secret)
    async with PrivateServer(
        login_shell="/bin/sh", password=secret, methods="keyboard-interactive"
    ) as server:
        async with managed(server, register=NO_KEY, prompter=prompter) as manager:
            assert await use(manager) == "in\n"
            found = subprocess.run(
                ["grep", "-rl", secret, str(manager.control_dir.path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert found.stdout == ""
            await manager.disconnect(1)
            with pytest.raises(sshmux.PermissionDenied) as caught:
                await use(manager)
            import traceback

            shown = "".join(traceback.format_exception(caught.value))
    assert secret not in caplog.text
    assert secret not in shown
