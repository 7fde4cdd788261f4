"""How to copy, as callers say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from ..system.selection import Patterns, Selection
from .paths import SFTPPath

SFTPPaths = SFTPPath | Sequence[SFTPPath]
ProgressHandler = Callable[[bytes, bytes, int, int], object] | None
ErrorHandler = Callable[[Exception], object] | Literal[False] | None
OnChange = Literal["error", "accept"]


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

    @property
    def follows_named(self) -> bool:
        """Whether of a link that the caller names the content is meant."""
        return self.follow_symlinks is not False

    @property
    def follows_all(self) -> bool:
        """The same of links inside of trees."""
        return self.follow_symlinks is True
