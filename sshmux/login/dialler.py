"""The dialler of one cluster: what lives already, answers, retries, and when not to try at all."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..checks import check_host, check_unquoted
from ..config import ConnectionConfig, Share
from ..errors import (
    ConnectTimeout,
    DisconnectError,
    NotLoggedIn,
    PermissionDenied,
    PromptDeclined,
    ServerHungUp,
    fresh_copy,
)
from ..openssh.askpass.launch import Listener
from ..openssh.askpass.prompts import NAMES_WHO_ASKS
from ..openssh.control.dial import DialOptions, dial, digest
from ..openssh.control.foreign import ForeignMaster
from ..openssh.control.master import Master
from ..openssh.control.turn import LoginTurn
from ..openssh.diagnostics import log_in_by_hand, through
from ..openssh.jump import leads_to_itself, nearest_hop
from ..openssh.resolve import Resolved
from ..openssh.version import ssh_version
from ..session.facts import ClusterFacts
from ..session.link import Link
from ..system.deadline import Deadline
from ..system.descriptors import told_limit
from ..text import logger
from .adoption import resolved_now
from .answers import PromptAnswerer, StoredSecrets
from .context import JumpHost, LoginContext
from .living import LivingMasters
from .lookup import Host, gather, hops

log = logger("sshmux.dial")

_PATIENCE = 2  # times the log-in's time-out, for another program's log-in to the same


class DialNotWanted(Exception):
    """While a log-in waited for its turn, it turned out that there are enough."""


@dataclass
class _DialAttempt:
    """What all attempts of one dial have in common."""

    slot: str
    stored: StoredSecrets
    deadline: Deadline
    listener: Listener | None
    shared: bool  # others may use it, or might
    tried: bool = False  # often enough, by somebody on the way


class Dialler:
    """Makes links to one cluster, or to one jump host.

    A refused log-in is not repeated behind anybody's back: after a `PermissionDenied`, or after a
    user declined, every dial raises it again, without trying, until `reset()`. And as long as
    a secret has not been seen to work, or if it works only once, there is one log-in at a time:
    a wrong one costs one attempt, whoever waits.

    Parameters:
        label: its name in the control directory.
        cluster_id: its name for the user who is asked; None for a jump host, whose master is
            shared as if its log-in took a user: others can only get through it.
    """

    def __init__(
        self, label: str, cluster_id: Hashable, config: ConnectionConfig, context: LoginContext
    ) -> None:
        self.config = config
        self.facts = ClusterFacts.of(config)
        self.also: set[str] = set()  # other names under which its secrets may be stored
        self._label = label
        self._cluster_id = cluster_id
        self._context = context
        self._refused: DisconnectError | None = None
        self._refused_at_jump = False
        self._trial = asyncio.Lock()
        self._proved = False
        self._jump: JumpHost | None = None
        self._asking = 0
        self._living = LivingMasters(config, context, self.facts, self._link)
        self._watchers: list[Callable[[bool], object]] = []

    # Rules

    @property
    def adopted(self) -> int:
        """How many masters were used that lived already."""
        return self._living.adopted

    @property
    def most_masters(self) -> int:
        """How many masters the pool may have, as far as is known."""
        pool = self._context.pool
        if self.facts.foreign or (self.config.dial == "never" and self.config.control_path):
            return 1
        if self.facts.login_factor:
            return min(pool.pool_size, pool.one_time_pool_size)
        return pool.pool_size

    @property
    def most_dials(self) -> int:
        """How many log-ins may be under way at once, as far as is known."""
        pool = self._context.pool
        unknown = not self._proved and (
            self._context.asking.prompter is not None
            or pool.persist > 0
            or self.config.control_path is not None
            or self.config.dial == "never"
        )
        return 1 if unknown or self.facts.login_factor else pool.max_parallel_dials

    @property
    def refused(self) -> DisconnectError | None:
        """Why it is not tried again, if so."""
        if self._refused_at_jump and self._jump is not None and self._jump.refused is None:
            self._refused = None  # somebody saw to the jump host since
        return self._refused

    @property
    def asking(self) -> bool:
        """Whether a user is asked at this moment, for this log-in or a jump host's."""
        return self._asking > 0

    def watch(self, changed: Callable[[bool], object]) -> Callable[[], None]:
        """Tells when a user begins to be asked, and afterwards; returns what ends that."""
        self._watchers.append(changed)
        if self.asking:
            changed(True)

        def unwatch() -> None:
            self._watchers.remove(changed)
            if self.asking:
                changed(False)

        return unwatch

    def _asks(self, begins: bool) -> None:
        before = self.asking
        self._asking += 1 if begins else -1
        if self.asking is not before:
            for watcher in tuple(self._watchers):
                watcher(begins)

    def reset(self) -> None:
        """Somebody asked for another try, or gave another secret."""
        self._refused = None
        self._proved = False
        if self._jump is not None:
            self._jump.reset()

    # Dialling

    async def dial(
        self,
        slot: str,
        listener: Listener | None = None,
        wanted: Callable[[], bool] = lambda: True,
        *,
        apart: bool = False,
    ) -> Link:
        """A new link, held; or one to a master that lives already.

        Retries passing trouble, within the config's `timeout` in all.

        Parameters:
            listener: hears what ssh tells of a log-in, which then is made in any case.
            wanted: asked when it is this one's turn, which may come late.
            apart: it may lead to a shared master that another link of this dialler uses.

        Raises `DialNotWanted` when it is not wanted any more, and `DescriptorLimit`.
        """
        with told_limit():
            return await self._dial(slot, listener, wanted, apart)

    async def _dial(
        self, slot: str, listener: Listener | None, wanted: Callable[[], bool], apart: bool
    ) -> Link:
        stored = StoredSecrets() if self.config.dial == "never" else await self._prepare()
        async with self._in_turn(stored):
            if not wanted():
                raise DialNotWanted
            link = await self._living.find(apart) if listener is None else None
            if link is not None:
                return link
            if self.config.dial == "never":
                raise NotLoggedIn(log_in_by_hand(self.config, await self._living.own_path()))
            shared = listener is None and self._may_share(stored)
            log_in = partial(self._persevere, slot, stored, listener, shared)
            if shared or (listener is None and self._somebody_logs_in()):
                return await self._in_everybodys_turn(log_in, apart)
            return await log_in()

    def _may_share(self, stored: StoredSecrets) -> bool:
        """Whether a log-in may make a master that others share, as far as is known before."""
        if self._share != "interactive":
            return self._share == "always"
        if self._proved and not self.facts.login_factor:
            return False
        return bool(stored) or self._context.asking.prompter is not None

    @property
    def _share(self) -> Share:
        """Which of its log-ins make a master that is shared."""
        share = self._context.pool.share
        return "always" if share != "never" and self._cluster_id is None else share

    def _somebody_logs_in(self) -> bool:
        """Whether a program does, to anywhere: it may be just what is wanted here."""
        share, directory = self._context.pool.share, self._context.directory
        return share != "never" and any(directory.turns())

    async def _in_everybodys_turn(self, log_in: Callable[[], Awaitable[Link]], apart: bool) -> Link:
        """Logs in, unless another program does: then its master is used.

        What the server refused to that one is not tried by us as well.
        """
        directory = self._context.directory
        directory.open()
        wanted = digest(self.config, await resolved_now(self.config))
        turn = LoginTurn(directory.path, wanted, self._asks)
        unwatch = _nothing
        try:
            waited = await turn.take(_PATIENCE * self.config.timeout)
            # Without a wait, only what is shared can have come since somebody looked.
            link = await (self._living.find(apart) if waited else self._living.shared(apart))
            if link is not None:
                return link
            unwatch = self.watch(turn.asking)
            return await log_in()
        except PermissionDenied as error:
            self._refused = self._refused or fresh_copy(error)
            if not isinstance(error, PromptDeclined):
                turn.refused(str(error))
            raise
        finally:
            unwatch()
            turn.end()

    @contextlib.asynccontextmanager
    async def _in_turn(self, stored: StoredSecrets) -> AsyncIterator[None]:
        answered = bool(stored) or self._context.asking.prompter is not None
        if self.facts.login_factor or (answered and not self._proved):
            async with self._trial:
                yield
        else:
            yield

    def _link(self, master: Master, jump: JumpHost | None = None) -> Link:
        self._proved = True
        self.facts.login_factor = master.record.login_factor
        if master.record.max_sessions is not None:
            self.facts.max_sessions = min(self.facts.max_sessions, master.record.max_sessions)
        self.facts.foreign = isinstance(master, ForeignMaster)
        on_closed = jump.release if jump is not None else None
        link = Link(master, self.facts, on_closed, engine=self._context.engine)
        self._living.note(link)
        return link

    # What has to be known before

    async def _prepare(self) -> StoredSecrets:
        """Finds the jump host to go through, and what is stored for all who may ask."""
        resolved = await self.facts.resolved(self.config)
        self._jump = await self._shared_jump(resolved)
        hosts: list[Host] = [(self.config, resolved)]
        if resolved.proxied and self._jump is None:
            hosts += await hops(self.config, resolved)
            if resolved.proxy_jump is not None:  # ssh.c makes a ProxyCommand with -F in it
                check_unquoted("config_file", self.config.config_file)
        return await gather(self._context.credentials, hosts, sorted(self.also))

    async def _shared_jump(self, resolved: Resolved) -> JumpHost | None:
        if not self._context.pool.share_jump_hosts or resolved.proxy_jump is None:
            return None
        hop = nearest_hop(self.config, resolved.proxy_jump)
        if hop is None or leads_to_itself(self.config, hop):
            return None
        # The way through it is a ProxyCommand of ours, with this in it.
        check_host("ssh_config's HostName", resolved.hostname)
        return await self._context.jump_host(hop)

    async def _answers(self, stored: StoredSecrets, deadline: Deadline) -> PromptAnswerer | None:
        asking = self._context.asking
        if not stored and asking.prompter is None:
            return None
        version = await ssh_version(self.config.ssh_program)
        resolved = await self.facts.resolved(self.config)
        named = version >= NAMES_WHO_ASKS
        if not named and resolved.proxied and self._jump is None:
            log.warning(
                "%s: this ssh (%d.%d) does not say which host asks for a secret, and there is a "
                "jump host that could ask: none is given. Use a key, or OpenSSH 8.5 or later",
                self.config.address,
                *version,
            )
            return None
        return PromptAnswerer(
            stored,
            asking,
            self._context.codes,
            named=named,
            deadline=deadline,
            cluster_id=self._cluster_id,
            host=self.config.address,
            on_asking=self._asks,
            password_prompts=self.config.password_prompts,
        )

    # Trying

    async def _persevere(
        self, slot: str, stored: StoredSecrets, listener: Listener | None, shared: bool
    ) -> Link:
        deadline = Deadline(self.config.timeout)
        this = _DialAttempt(slot, stored, deadline, listener, shared)
        attempts = self._context.pool.dial_attempts
        for attempt in range(1, attempts + 1):
            if refused := self.refused:
                raise fresh_copy(refused)
            try:
                return await self._once(this)
            except DisconnectError as error:
                if error.final:
                    self._mention_keyring(error)
                    self._refused = fresh_copy(error)
                    self._refused_at_jump = bool(self._jump and self._jump.refused)
                    raise
                pause = self._context.pool.dial_backoff * 2 ** (attempt - 1)
                pause *= random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                last = attempt == attempts or this.tried
                if last or pause >= this.deadline.left or not error.transient:
                    raise
                log.info("%s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)  # a pause is the point: there is no event to await
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _mention_keyring(self, error: DisconnectError) -> None:
        """A locked keyring may have held what was missing."""
        problem = self._context.credentials.problem
        if problem and problem not in str(error):  # a jump host's error has it already
            error.args = (f"{error} (And {problem}: what is stored there was not used.)",)

    async def _once(self, this: _DialAttempt) -> Link:
        jump = self._jump
        if jump is None:
            return self._link(await self._log_in(this, None))
        unwatch = jump.watch(self._asks)
        try:
            with this.deadline.stopped():  # it has a deadline of its own
                via = await jump.hold()
        except DisconnectError:
            this.tried = True  # by the jump host's own dialler, as often as is right
            raise
        finally:
            unwatch()
        try:
            return self._link(await self._log_in(this, via), jump)
        except BaseException as error:
            jump.release()
            if isinstance(error, ConnectTimeout):
                await jump.verify()
            if isinstance(error, ServerHungUp):
                raise through(error) from error
            raise

    async def _log_in(self, this: _DialAttempt, via: Path | None) -> Master:
        self._context.before_dial()
        answers = await self._answers(this.stored, this.deadline)
        pool = self._context.pool
        found_later = this.shared or pool.persist > 0  # and told apart by what ssh_config says
        way = DialOptions(
            lifetime=pool.persist or pool.grace,
            persist=pool.persist,
            answerer=answers,
            confirm=answers is not None and answers.somebody and await self._may_confirm(),
            via=via,
            listener=this.listener,
            resolved=await resolved_now(self.config) if found_later else (),
            share=self._share if this.shared else "never",
        )
        give_back = await self._context.places.take(self.config, this.deadline)
        try:
            return await dial(
                self.config,
                self._context.directory,
                way,
                cluster=self._label,
                slot=this.slot,
                deadline=this.deadline,
            )
        finally:
            give_back()

    async def _may_confirm(self) -> bool:
        """Whether a user may be asked about an unknown host key: never weaker than the config."""
        if self.config.strict_host_key_checking is not True:
            return False  # it says itself what is to be
        return (await self.facts.resolved(self.config)).strict != "yes"


def _nothing() -> None:
    """Nothing is to be undone."""
