"""Another make of server: dropbear, as on small machines. Log-ins and commands one at a time."""

from __future__ import annotations

import pytest

import sshmux

from ..dropbear import Dropbear, missing
from ..support import control_directory

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


async def test_a_key() -> None:
    async with Dropbear() as server:
        with control_directory() as directory:
            async with sshmux.ConnectionManager(control_dir=directory, persist=60) as manager:
                server.register(manager, 1)
                async with manager.get_connection(1) as connection:
                    result = await connection.run("echo out; echo err >&2; exit 3")
                    assert (result.stdout, result.stderr) == ("out\n", "err\n")
                    assert result.exit_status == 3
                    with pytest.raises(sshmux.ProcessTimeout):
                        await connection.run("sleep 1000", timeout=0.5)
                    assert (await connection.run("echo well")).stdout == "well\n"
                await manager.disconnect(1)
            assert server.logins == 1


async def test_a_password_and_a_wrong_one() -> None:
    async with Dropbear(password="pw") as server:
        with control_directory() as directory:
            async with sshmux.ConnectionManager(control_dir=directory) as manager:
                server.register(
                    manager, 1, key_file=None, ssh_options={"PubkeyAuthentication": "no"}
                )
                manager.set_password(1, "wrong", keyring=False)
                for _ in range(2):
                    with pytest.raises(sshmux.PermissionDenied):
                        async with manager.get_connection(1):
                            pass
                assert (server.connections, server.failed_logins) == (1, 1)
                manager.set_password(1, "pw", keyring=False)
                assert await manager.test_connection(1)
