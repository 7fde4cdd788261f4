"""What is known of a cluster: learned from use, and shared by all its links."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from ..config import ConnectionConfig
from ..openssh.engines.shape import NO_OPTIONS, SessionOptions
from ..openssh.remote import Shell
from ..openssh.resolve import Resolved, resolve


@dataclass
class ClusterFacts:
    """What is known of a cluster; shared by its links, and learned from use."""

    shell: Shell = "unknown"
    max_sessions: int = 10
    login_factor: str = ""  # what the last log-in took: see `openssh.control.record.Record`
    foreign: bool = False  # the master is the user's own
    quickest: float = math.inf  # seconds that a session took to tell that it has begun, at best
    session_options: SessionOptions | None = None  # what the user's config asks for each
    resolving: asyncio.Task[Resolved] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, config: ConnectionConfig) -> ClusterFacts:
        """What the config says to begin with."""
        shell: Shell = "unknown" if config.remote_shell == "auto" else config.remote_shell
        return cls(shell, config.max_sessions)

    def resolve(self, config: ConnectionConfig) -> asyncio.Task[Resolved]:
        """`ssh -G`, once; started beside the first log-in, so that nobody waits for it."""
        task = self.resolving
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self.resolving = asyncio.ensure_future(resolve(config))
            # Whoever waits for it sees the error; that nobody does is no news.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def resolved(self, config: ConnectionConfig) -> Resolved:
        """What `ssh -G` says, waited for."""
        return await asyncio.shield(self.resolve(config))

    async def learn_session_options(self, config: ConnectionConfig) -> SessionOptions:
        """What the user's config asks for each session, since `-F none` does not read it."""
        task = self.resolve(config)
        if not task.done():
            await asyncio.wait((task,))
        if task.cancelled() or task.exception() is not None:
            return NO_OPTIONS
        resolved = task.result()
        self.session_options = SessionOptions(resolved.forward_agent, resolved.send_env)
        return self.session_options

    def forget(self) -> None:
        """Stops a `ssh -G` that nobody needs any more."""
        if self.resolving is not None and not self.resolving.done():
            self.resolving.cancel()
