"""ConnectionManager: the API that users know."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

from .checks import check_function, check_seconds
from .config import ConnectionConfig, PoolConfig, StrictHostKeyChecking
from .connection import Connection
from .errors import ConfigError, Error, ManagerClosed, WrongEventLoop
from .login.answers import Prompter, PromptQueue
from .login.context import DialLimiter, LoginContext
from .login.credentials import Credentials
from .login.dialler import Dialler
from .login.jumps import JumpHosts
from .login.secret_storage import SecretStorage
from .login.totp import OneTimeCodes
from .openssh.control.directory import ControlDir
from .openssh.control.guardian import Guardian
from .openssh.control.record import own_identity
from .openssh.control.sweep import sweep
from .openssh.control.used_codes import UsedCodes
from .pool.borrow import Borrow
from .pool.events import Events, Subscriber
from .pool.health import check_pools, check_regularly
from .pool.keywords import ConnectionKeywords, PoolKeywords, reject_unknown
from .pool.pool import Pool
from .pool.registry import Cluster, ClusterRegistry, in_this_loop
from .pool.shells import ShellBorrow
from .pool.unpooled import UnpooledConnections
from .session.link import ENGINES
from .system.contexts import CoroutineContext
from .system.inherited import open_standard_descriptors
from .system.ownership import Ownership, check_loop
from .system.tasks import TaskGroup, run_to_end
from .text import logger

T = TypeVar("T")

log = logger("sshmux.manager")

_OWN_PARAMETERS = ("engine", "prompter", "control_dir", "keyring_service")
_TEST_DEADLINE = 30.0  # seconds for the command of test_connection


class ConnectionManager(SecretStorage):
    """A pool of ControlMasters for each registered cluster.

    Use it as `async with ConnectionManager() as manager`, or call `start()` and `stop()`. Without
    `start()` it works too, but without its background care: no health checks, no closing of idle
    or old connections, no sweep. It belongs to the event loop it is used in and to no thread
    but that loop's (`call_from_thread` is for others), and to the process that made it, not to one
    that is forked; the password methods, which block, may be called from anywhere.

    Parameters:
        pool_size: the most masters per cluster.
        engine: how sessions are opened: "ssh" runs `ssh -S` for each; "mux" speaks the master's
            protocol itself, without a process.
        sessions_per_connection: how many tasks may borrow one master at once.
        persist: seconds that masters outlive `stop()`, to be adopted by the next manager with
            the same target, options and `persist`; 0 closes them.
        max_age, max_idle, health_interval, max_health_failures, acquire_timeout: see `PoolConfig`.
        prompter: an async function that is asked what nothing stored can answer: it gets a
            `Prompt` and returns what to type, or None to decline. One question at a time. See
            `TerminalPrompter` for one that asks on the terminal.
        control_dir: where the control sockets are. Default: `$SSHMUX_DIR`, else
            `$XDG_RUNTIME_DIR/sshmux`, else a private directory below the temporary one.
        keyring_service: the name of our entries in the system keyring.
        more: any other field of `PoolConfig`.

    Raises `ConfigError` (a `ValueError`) for values that make no sense.
    """

    def __init__(
        self,
        pool_size: int = 5,
        *,
        engine: str = "ssh",
        sessions_per_connection: int = 1,
        persist: int = 0,
        max_age: float = 3600,
        max_idle: float = 300,
        health_interval: float = 60,
        max_health_failures: int = 3,
        acquire_timeout: float | None = None,
        prompter: Prompter | None = None,
        control_dir: str | Path | None = None,
        keyring_service: str = "sshmux",
        **more: Unpack[PoolKeywords],
    ) -> None:
        open_standard_descriptors()
        self._manager_closed = False
        self._started = False
        self._ownership = Ownership()
        self._clusters = ClusterRegistry()
        if engine not in ENGINES:
            raise ConfigError(f"engine={engine!r}: use one of {', '.join(map(repr, ENGINES))}")
        if prompter is not None and not callable(prompter):
            raise ConfigError(f"prompter={prompter!r}: use an async function of one Prompt")
        reject_unknown(more, PoolConfig, "ConnectionManager", _OWN_PARAMETERS)
        self.config = PoolConfig(
            pool_size=pool_size,
            sessions_per_connection=sessions_per_connection,
            persist=persist,
            max_age=max_age,
            max_idle=max_idle,
            health_interval=health_interval,
            max_health_failures=max_health_failures,
            acquire_timeout=acquire_timeout,
            **more,
        )
        self._engine = engine
        self.control_dir = ControlDir(control_dir)
        self._credentials = Credentials(keyring_service)
        self._prompter = prompter
        self._codes = OneTimeCodes(UsedCodes(self.control_dir))
        self._jumps = JumpHosts()
        self._events = Events()
        self._endings = TaskGroup()
        self._unpooled = UnpooledConnections(self._endings)
        self._care: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._guardian: Guardian | None = None

    def __repr__(self) -> str:
        state = "stopped" if self._manager_closed else "started" if self._started else "not started"
        return (
            f"<ConnectionManager {state}, {len(self._clusters)} clusters, {self.control_dir.path}>"
        )

    # Life

    async def start(self) -> None:
        """Sweeps what dead managers left in the control directory, and starts background care.

        Raises `ControlDirError` when that directory cannot be used.
        """
        self._enter_loop()
        if self._started:
            return
        self._manager_closed = False
        self.control_dir.open()
        removed = await sweep(self.control_dir)
        if removed:
            log.info("swept %d connections that nobody held any more", removed)
        self._started = True
        for pool in self._clusters.pools():
            pool.care = True
        # The task must not keep a forgotten manager alive.
        self._care = asyncio.create_task(
            check_regularly(weakref.ref(self), self.config.health_interval)
        )

    async def stop(self) -> None:
        """Closes everything: running commands get `drain_timeout` seconds, then are ended.

        Afterwards no process, socket, task or record of this manager is left, except masters that
        `persist` lets live on. Cancelled, it goes on to the end first. Using the manager then
        raises `ManagerClosed`, until `start()`.
        """
        self._enter_loop()
        self._manager_closed = True
        self._started = False
        await run_to_end(self._end_once)

    async def _end_once(self) -> None:
        """Two who stop wait for the same end."""
        if self._ending is None or self._ending.done():
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        if self._care is not None:
            self._care.cancel()
            await asyncio.wait((self._care,))
            self._care = None
        await self._unpooled.cancel_dials()
        drain = self.config.drain_timeout
        await asyncio.gather(
            *(
                pool.close(_manager_closed, drain=drain, leave=self._leaves(pool))
                for pool in self._clusters.take_pools()
            ),
            self._unpooled.close(drain=drain, error=_manager_closed()),
        )
        await self._endings.wait()
        await self._jumps.close(leave=self.config.persist > 0 or None)
        if self._guardian is not None:
            await self._guardian.close()
            self._guardian = None

    def _leaves(self, pool: Pool) -> bool | None:
        """Whether a pool's masters live on after `stop()`: see `Link.close`.

        One that never dials leaves what is.
        """
        return self.config.persist > 0 or pool.dialler.config.dial == "never" or None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __del__(self) -> None:
        if self._manager_closed or self._ownership.inherited:
            return
        if not (self._started or self._clusters.pools()):
            return
        warnings.warn(
            f"{self!r} was never stopped: call `await manager.stop()`, or use `async with`. Its "
            f"masters leave by themselves after {self.config.grace} s",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )
        self._abandon(end=False)

    def _abandon(self, *, end: bool) -> None:
        """Lets go of everything that belongs to a loop that has ended."""
        for pool in self._clusters.take_pools():
            pool.abandon(end=end)
        self._unpooled.abandon(end=end)
        self._jumps.abandon(end=end)
        if self._guardian is not None:
            self._guardian.abandon()
            self._guardian = None
        self._care = self._ending = None
        self._endings = TaskGroup()
        self._unpooled = UnpooledConnections(self._endings)

    def _enter_loop(self) -> None:
        """Notices that the program runs another loop than before (a second `asyncio.run`).

        Raises `WrongEventLoop` in a forked child, and in another loop while its own one runs.
        """
        before = self._ownership.loop
        if not self._ownership.claim(
            "this ConnectionManager",
            "use it there, by manager.call_from_thread(…), or make one for this loop",
        ):
            return
        if before is not None:
            self._abandon(end=True)
            self._started = False
        self._context = self._make_login_context()

    def call_from_thread(
        self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None
    ) -> T:
        """Runs a coroutine in the manager's own event loop, from another thread, and waits for it.

        Parameters:
            coroutine: what is to be done, for instance that of an async function of yours that
                borrows a connection, runs a command and returns its result.
            timeout: seconds; then it is cancelled, and `TimeoutError` is raised.

        Raises what the coroutine raises, and `WrongEventLoop` when the manager is in no running
        loop, or this is that loop's own thread.
        """
        loop = self._ownership.loop
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._ownership.inherited or loop is None or not loop.is_running() or here is loop:
            coroutine.close()
            raise WrongEventLoop(
                "call_from_thread() is for other threads than that of the event loop in which the "
                "manager is used, and while that loop runs: in the loop itself, await it"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            if not future.done():
                future.cancel()
            raise

    def _make_login_context(self) -> LoginContext:
        """What belongs to one loop: the manager must not be kept alive by it."""
        jumps = self._jumps
        context = LoginContext(
            pool=self.config,
            engine=self._engine,
            directory=self.control_dir,
            credentials=self._credentials,
            codes=self._codes,
            asking=PromptQueue(self._prompter, self.config.prompt_timeout),
            places=DialLimiter(self.config),
            jump_host=lambda config: jumps.get(config, context),
            before_dial=_weakly(self._before_dial),
        )
        return context

    # Clusters

    def register_cluster(
        self,
        cluster_id: Hashable,
        host: str | None = None,
        port: int = 22,
        username: str | None = None,
        key_file: str | Path | None = None,
        use_agent: bool = True,
        known_hosts_file: str | Path | None = None,
        strict_host_key_checking: StrictHostKeyChecking = True,
        *,
        config: ConnectionConfig | None = None,
        timeout: float = 30,
        keepalive_interval: float = 60,
        **more: Unpack[ConnectionKeywords],
    ) -> None:
        """Registers a cluster, or replaces it (its connections are closed if anything changed).

        Parameters:
            cluster_id: anything hashable: a number from a database, a name.
            config: a `ConnectionConfig` instead of `host` and everything else.
            others: the fields of `ConnectionConfig`.

        Raises `ConfigError` (a `ValueError`) before anything is started: for names that ssh could
        misread, a missing key file, a port or time out of range.
        """
        hash(cluster_id)
        if config is None:
            if host is None:
                raise ConfigError("register_cluster needs host= or config=")
            if isinstance(host, ConnectionConfig):  # the type checker knows better
                raise ConfigError(
                    "register_cluster(id, ConnectionConfig(…)): give it as config=, by keyword"
                )
            reject_unknown(more, ConnectionConfig, "register_cluster")
            config = ConnectionConfig(
                host,
                port,
                username,
                Path(key_file) if key_file is not None else None,
                use_agent,
                timeout,
                keepalive_interval,
                Path(known_hosts_file) if known_hosts_file is not None else None,
                strict_host_key_checking,
                **cast("dict[str, Any]", more),
            )
        elif more or (
            (host, port, username, key_file, use_agent, known_hosts_file)
            != (None, 22, None, None, True, None)
            or (strict_host_key_checking, timeout, keepalive_interval) != (True, 30, 60)
        ):
            raise ConfigError("register_cluster: give config=, or host and the rest, not both")
        config.check_files()
        if cluster_id in self._clusters:
            check_loop(self._ownership.loop, "this ConnectionManager")
        replaced = self._clusters.put(cluster_id, config)
        if replaced is not None:
            self._discard(replaced)

    @property
    def clusters(self) -> dict[Hashable, ConnectionConfig]:
        """What is registered, by its id: a copy."""
        return self._clusters.configs()

    def unregister_cluster(self, cluster_id: Hashable) -> Awaitable[None]:
        """Forgets a cluster at once, and closes its connections in the background.

        Await the result to wait for that. Raises `ConfigError` when it is not registered.
        """
        check_loop(self._ownership.loop, "this ConnectionManager")
        return self._discard(self._clusters.remove(cluster_id))

    def _discard(self, cluster: Cluster) -> Awaitable[None]:
        pool, cluster.pool = cluster.pool, None
        if pool is None:
            return _Done()
        if not in_this_loop(pool):
            pool.abandon(end=True)
            return _Done()
        address = cluster.config.address
        return self._endings.start(
            pool.close(
                lambda: ConfigError(f"{address} was unregistered, or registered anew"),
                drain=self.config.drain_timeout,
                leave=None,
            )
        )

    def _pool(self, cluster_id: Hashable) -> Pool:
        """The cluster's pool in this loop, made when it is first needed."""
        if self._manager_closed:
            raise _manager_closed()
        self._enter_loop()
        cluster = self._clusters[cluster_id]
        if cluster.pool is None:
            dialler = Dialler(cluster.label, cluster_id, cluster.config, self._context)
            cluster.pool = Pool(cluster_id, self.config, dialler, self._events, care=self._started)
        return cluster.pool

    def _before_dial(self) -> None:
        if self._guardian is None:
            self.control_dir.open()
            self._guardian = Guardian(self.control_dir.path, own_identity())

    def _address_of(self, cluster_id: Hashable) -> str:
        return self._clusters[cluster_id].config.address

    def _secret_changed(self, cluster_id: Hashable | None) -> None:
        """A log-in that was refused may be tried again with another secret."""
        self._jumps.reset()
        self._clusters.reset_login(cluster_id)

    # Connections

    def get_connection(self, cluster_id: Hashable, *, timeout: float | None = None) -> Borrow:
        """Borrows a connection: `async with manager.get_connection(1) as conn`.

        Parameters:
            timeout: seconds to wait for one, instead of `acquire_timeout`.

        Raises on entering the block:
            ConfigError: the cluster is not registered, or something about it cannot be used.
            AcquireTimeout: no connection became free in time.
            DisconnectError: none could be made (`PermissionDenied`, `HostKeyUnknown`, …).
            ManagerClosed: the manager was stopped.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        else:
            timeout = self.config.acquire_timeout
        return Borrow(lambda: self._pool(cluster_id), timeout)

    def get_shell(self, cluster_id: Hashable, *, timeout: float | None = None) -> ShellBorrow:
        """Borrows a connection with a warm shell on it: `async with manager.get_shell(1) as shell`.

        The shell of an earlier borrower is used again if nothing of his can be left in it, so
        that a command costs one round trip, and no start-up file of the login shell runs.

        Parameters, and what is raised on entering the block: as for `get_connection`.
        """
        return ShellBorrow(self.get_connection(cluster_id, timeout=timeout))

    def connect(
        self, cluster_id: Hashable, *, listener: Callable[[bytes], object] | None = None
    ) -> CoroutineContext[Connection]:
        """Opens a connection of the caller's own, outside the pool and its size.

        `await` it, and close it with `close()` and `wait_closed()`; or `async with` it. Being asked
        for by hand, it is tried even after a log-in that was refused. Raises what `get_connection`
        raises.

        Parameters:
            listener: called with what ssh tells of the log-in (LogLevel DEBUG1), in pieces as
                they come; then it is a new log-in in any case. For finding out what goes wrong.
        """
        if listener is not None:
            check_function("listener", listener)
        return CoroutineContext(partial(self._connect, cluster_id, listener))

    async def _connect(
        self, cluster_id: Hashable, listener: Callable[[bytes], object] | None
    ) -> Connection:
        pool = self._pool(cluster_id)
        pool.dialler.reset()
        try:
            link = await self._unpooled.open(pool.dialler, listener)
        except asyncio.CancelledError:
            if self._manager_closed:
                raise _manager_closed() from None
            raise
        return Connection(link, owned=True)

    async def disconnect(self, cluster_id: Hashable) -> None:
        """Closes all connections to a cluster, lent and own ones included, with their commands."""
        self._enter_loop()
        cluster = self._clusters[cluster_id]
        endings = [link.close() for link in self._unpooled.to(cluster.config)]
        if cluster.pool is not None:
            endings.append(cluster.pool.disconnect())
        await asyncio.gather(*endings)
        await self._jumps.close_unused()

    async def test_connection(self, cluster_id: Hashable) -> bool:
        """Whether it can be logged in to, and the server answers to a session.

        True, or False with the reason in the log. An account without a shell (SFTP only, git) that
        ends `true` in its own way has answered.

        Raises `ConfigError` when the cluster is not registered.
        """
        pool = self._pool(cluster_id)
        pool.dialler.reset()
        try:
            async with self.get_connection(cluster_id) as connection:
                await connection.check(_TEST_DEADLINE)
        except (ManagerClosed, WrongEventLoop):
            raise
        except (Error, OSError) as error:
            log.warning("test of %r failed: %s", cluster_id, error)
            return False
        return True

    async def get_connection_metrics(self, cluster_id: Hashable) -> dict[str, Any]:
        """Figures of a cluster's pool; times in seconds.

        `total_connections`, `in_use`, `available`, `avg_age_seconds`, `avg_idle_seconds`; also
        `pool_size`, `dialling`, `closing`, `waiting`, `borrowers`, `states`, and sums since the
        registration: `requests`, `requests_waited`, `requests_timed_out`, `requests_failed`,
        `wait_seconds`, `wait_seconds_avg`, `wait_seconds_max`, `usage_seconds`, `dials`,
        `dial_failures`, `dial_seconds`, `adopted`, `lost`, `expired`, `unhealthy`,
        `health_checks`, `health_check_failures`, `leaks`. `connections` lists the pooled
        connections, each with its slot, state, master's pid, memory and processor time.
        """
        return self._pool(cluster_id).metrics()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls `subscriber(event)` on each change of a pooled connection's state.

        Returns a function that ends the subscription. See `sshmux.Event`.
        """
        check_function("subscriber", subscriber)
        return self._events.subscribe(subscriber)

    async def check_health(self) -> None:
        """One round of health checks now, over all clusters."""
        self._enter_loop()
        await check_pools(self._clusters.pools())


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """A pool's timers hold the pool; that must not hold a manager that everybody else forgot."""
    ref = weakref.WeakMethod(method)

    def call() -> None:
        found = ref()
        if found is not None:
            found()

    return call


def _manager_closed() -> ManagerClosed:
    return ManagerClosed("the manager was stopped: call start() again, or make a new one")


class _Done:
    """Something to await that is done already."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()
