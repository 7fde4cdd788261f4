"""How to copy, as callers say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from ..checks import check_function, check_int
from ..errors import ConfigError
from ..system.selection import Patterns, Selection
from .paths import SFTPPath

SFTPPaths = SFTPPath | Sequence[SFTPPath]
ProgressHandler = Callable[[bytes, bytes, int, int], object] | None
ErrorHandler = Callable[[Exception], object] | Literal[False] | None
_MOST = 2**63 - 1
OnChange = Literal["error", "accept"]


def check_requests(block_size: object, max_requests: object) -> None:
    """Raises `ConfigError` unless these are whole numbers; below 1 there is no limit of ours."""
    if block_size is not None:
        check_int("block_size", block_size, -_MOST, _MOST)
    check_int("max_requests", max_requests, -_MOST, _MOST)


def check_error_handler(handler: object) -> None:
    """Raises `ConfigError` unless it is a function, False or None."""
    if handler is not None and handler is not False:
        check_function("error_handler", handler)


class CopyKeywords(TypedDict, total=False):
    """The keywords of `SFTPClient.get`, which says what they mean."""

    preserve: bool
    recurse: bool
    follow_symlinks: bool | None
    sparse: bool
    block_size: int | None
    max_requests: int
    progress_handler: ProgressHandler
    error_handler: ErrorHandler
    on_change: OnChange
    exclude: Patterns
    include: Patterns


@dataclass(frozen=True)
class CopyOptions:
    """The same, with what they are by default. Raises `ValueError`."""

    preserve: bool = False
    recurse: bool = False
    follow_symlinks: bool | None = None
    sparse: bool = True
    block_size: int | None = -1
    max_requests: int = -1
    progress_handler: ProgressHandler = None
    error_handler: ErrorHandler = None
    on_change: OnChange = "error"
    exclude: Patterns = ()
    include: Patterns = ()
    selection: Selection | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selection", Selection.of(self.exclude, self.include))
        if self.on_change not in ("error", "accept"):
            raise ValueError(f"on_change={self.on_change!r}: use 'error' or 'accept'")
        check_requests(self.block_size, self.max_requests)
        check_error_handler(self.error_handler)
        if self.progress_handler is not None:
            check_function("progress_handler", self.progress_handler)
        if not (self.follow_symlinks is None or isinstance(self.follow_symlinks, bool)):
            raise ConfigError(f"follow_symlinks={self.follow_symlinks!r}: use True, False or None")

    @property
    def follows_named(self) -> bool:
        """Whether of a link that the caller names the content is meant."""
        return self.follow_symlinks is not False

    @property
    def follows_all(self) -> bool:
        """The same of links inside of trees."""
        return self.follow_symlinks is True
