"""For all tests: nothing of the account's own, and a choice of engine and event loop.

`--engine mux` runs everything on the `mux` engine, and `--loop uvloop` on uvloop. Without
`--engine`, the tests that are marked `both_engines` run on each, and the others on `ssh`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from . import isolation

isolation.isolate()

ENGINES = ("ssh", "mux")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=ENGINES, help="the default engine of every manager")
    parser.addoption("--loop", choices=("asyncio", "uvloop"), default="asyncio")


def pytest_configure() -> None:
    isolation.plain_shells()


def pytest_unconfigure() -> None:
    isolation.clean_up()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with isolation.skipping():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with isolation.skipping():
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--engine")
    if chosen is None and metafunc.definition.get_closest_marker("both_engines"):
        metafunc.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine of every manager that names none."""
    from sshmux import ConnectionManager

    name: str = getattr(request, "param", None) or request.config.getoption("--engine") or "ssh"
    monkeypatch.setitem(ConnectionManager.__init__.__kwdefaults__, "engine", name)
    return name


@pytest.fixture(autouse=True)
def debug(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With SSHMUX_DEBUG=DIRECTORY, a directory in there for each test: what was logged and kept."""
    base = os.environ.get("SSHMUX_DEBUG")
    if not base:
        yield
        return
    name = re.sub(r"[^\w.-]+", "-", request.node.name)[:100]
    directory = Path(base).resolve() / request.node.path.stem / name
    directory.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("SSHMUX_DEBUG", str(directory))
    handler = logging.FileHandler(directory / "sshmux.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    log = logging.getLogger("sshmux")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(level)
    log.removeHandler(handler)
    handler.close()
    request.node.add_report_section("teardown", "SSHMUX_DEBUG", str(directory))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private directory with a short path: pytest's own are too long for a control socket."""
    path = Path(tempfile.mkdtemp(prefix="sx")).resolve()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if config.getoption("--loop") == "uvloop":
        import uvloop

        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
