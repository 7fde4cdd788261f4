"""Whether a symbolic link stays inside of what a copy makes, purely."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from itertools import pairwise

_HOPS = 40  # links that lead to links, as many as a system follows


def stays_inside(
    path: bytes,
    leads_to: bytes,
    root: bytes,
    links: Mapping[bytes, bytes],
    is_link: Callable[[bytes], bool],
) -> bool:
    """Whether a link leads to nothing but what is below a directory, by whatever other links.

    Parameters:
        path: the link's own; relative to the same place as `root` and all the others.
        root: the directory.
        links: those that the same copy makes, and where they lead.
        is_link: whether there is a link of somebody else's.
    """
    if not _descends(leads_to):
        return False
    at = _inside(posixpath.dirname(path), leads_to, root)
    passed = 0
    while at is not None:
        for part in _prefixes(at, root):
            if part in links:
                # What comes after it counts from where that link leads to.
                rest = at[len(part) :].lstrip(b"/")
                way = posixpath.join(links[part], rest) if rest else links[part]
                if not _descends(links[part]):
                    return False
                at = _inside(posixpath.dirname(part), way, root)
                passed += 1
                break
            if is_link(part):
                return False
        else:
            return True
        if passed > _HOPS:
            return True  # it leads in a circle, and nowhere
    return False


def _inside(directory: bytes, leads_to: bytes, root: bytes) -> bytes | None:
    """Where a path leads from a directory, in words alone; None for out of the root."""
    if posixpath.isabs(leads_to):
        return None
    end = posixpath.normpath(posixpath.join(b"/", directory, leads_to))[1:]
    ups = len([part for part in leads_to.split(b"/") if part == b".."])
    depth = len([part for part in directory.split(b"/") if part])
    if ups > depth:
        return None
    inside = not root or end == root or end.startswith(root + b"/")
    return end if inside else None


def _descends(leads_to: bytes) -> bool:
    """Whether it never goes up after it went down: where that ends another link can change."""
    parts = [part for part in leads_to.split(b"/") if part not in (b"", b".")]
    return not any(part == b".." != before for before, part in pairwise(parts))


def _prefixes(path: bytes, root: bytes) -> list[bytes]:
    """The path, and each that it goes through below the root."""
    parts = path.split(b"/") if path else []
    found = [b"/".join(parts[: count + 1]) for count in range(len(parts))]
    return [each for each in found if len(each) > len(root)]
