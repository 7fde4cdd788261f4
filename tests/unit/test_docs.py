"""The documents say what the code does: names, defaults, keys, options and links."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

import sshmux
from sshmux import ConnectionConfig, ConnectionManager, Event, PoolConfig, State, checks, errors
from sshmux.cli.main import cli
from sshmux.pool.slots import Slots
from sshmux.pool.stats import Counters, describe, metrics
from sshmux.testing import PrivateServer

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
CONFIGURATION = PAGES["docs/configuration.md"]
SOURCES = sorted((ROOT / "sshmux").rglob("*.py"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The rows of every table, heads first.

    A table is one of Markdown's; or, where that would be too wide, a list with a head in italics,
    whose cells are between middle dots (or, of two, around the first colon).
    """
    return [*_table_rows(text), *_list_rows(text)]


def _table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-: ")]


def _list_rows(text: str) -> list[list[str]]:
    found = []
    for head, items in re.findall(r"^\*([^*\n]+)\*\n\n((?:- .*\n(?:  .*\n)*)+)", text + "\n", re.M):
        separator = " · " if " · " in head else ": "
        for item in [head, *re.split(r"^- ", items, flags=re.M)[1:]]:
            line = " ".join(item.split())
            found.append(line.split(separator, -1 if separator != ": " else 1))
    return found


def defaults(text: str) -> dict[str, Any]:
    """What a table says of each `name` and its default; *required* is MISSING."""
    return {
        row[0].strip("`"): MISSING if row[1] == "*required*" else ast.literal_eval(row[1][1:-1])
        for row in rows(text)
        if row[0].startswith("`")
    }


def field_defaults(kind: type) -> dict[str, Any]:
    return {
        each.name: each.default_factory() if callable(each.default_factory) else each.default
        for each in fields(kind)
    }


def parameters(kind: type) -> dict[str, Any]:
    return {
        name: each.default
        for name, each in inspect.signature(kind).parameters.items()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }


def code_words(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


# Names


@pytest.mark.parametrize("name", sshmux.__all__)
def test_every_public_name_is_in_the_documents(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", text) for text in PAGES.values())


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_paragraph_and_a_place_in_the_tree(name: str) -> None:
    page = PAGES["docs/errors.md"]
    assert re.search(rf"^### {name}$", page, re.MULTILINE)
    assert re.search(rf"^[ │├└─]*{name}\b", blocks(page, "")[0], re.MULTILINE)


def test_errors_that_are_tried_again_are_said_to_be() -> None:
    page = PAGES["docs/errors.md"]
    for name in errors.__all__:
        text = re.split(rf"^### {name}$", page, flags=re.MULTILINE)[1].partition("\n##")[0]
        assert ("*Transient" in text) == getattr(errors, name).transient, name


def test_public_methods_of_the_manager_are_mentioned() -> None:
    everything = "\n".join(PAGES.values())
    for name, _ in inspect.getmembers(ConnectionManager, inspect.isfunction):
        if not name.startswith("_") and name != "check_health":
            assert re.search(rf"\b{name}\b", everything), name


def test_every_room_is_in_the_design() -> None:
    known = {word.strip("/") for word in code_words(PAGES["docs/design.md"])}
    for path in SOURCES:
        if not path.name.startswith("__") and path.parent.name in ("sshmux", "openssh", "pool"):
            assert {path.stem, path.name} & known, path.name


@pytest.mark.parametrize("page", PAGES)
def test_lines_have_at_most_100_characters(page: str) -> None:
    long = [line for line in PAGES[page].splitlines() if len(line) > 100]
    assert not long, "wrap them; a table that is too wide becomes a list (see rows() above)"


# Settings


def test_connection_config() -> None:
    assert defaults(section(CONFIGURATION, "ConnectionConfig")) == field_defaults(ConnectionConfig)


def test_pool_config() -> None:
    assert defaults(section(CONFIGURATION, "PoolConfig")) == field_defaults(PoolConfig)


def test_the_managers_own_parameters() -> None:
    assert defaults(section(CONFIGURATION, "ConnectionManager")) == parameters(ConnectionManager)


def test_reserved_options() -> None:
    told = rows(section(CONFIGURATION, "ssh_options that are reserved"))
    names = {name.lower() for row in told[1:] for name in code_words(row[0])}
    assert names == set(checks._RESERVED)


def test_private_server() -> None:
    assert defaults(section(PAGES["docs/testing.md"], "PrivateServer(…)")) == parameters(
        PrivateServer
    )


def test_members_of_private_server() -> None:
    known = code_words(PAGES["docs/testing.md"])
    for name in vars(PrivateServer):
        if not name.startswith("_"):
            assert any(re.search(rf"\b{name}\b", words) for words in known), name


# What a program can watch


def a_member() -> Any:
    connection = SimpleNamespace(
        master=SimpleNamespace(usage=lambda: None, pid=1, entry=SimpleNamespace(socket="x")),
        gate=SimpleNamespace(inside=0, limit=1),
    )
    return SimpleNamespace(
        connection=connection,
        slot=1,
        state=State.AVAILABLE,
        in_use=False,
        created_at=0.0,
        last_used=0.0,
        borrowers=0,
        uses=0,
        health_check_failures=0,
    )


def test_metrics() -> None:
    told = rows(section(CONFIGURATION, "Metrics"))
    names = {name for row in told for name in code_words(row[0])}
    real = set(metrics(Slots(PoolConfig()), Counters(), 0.0)) | {"connections"}
    assert names == real | set(describe(a_member(), 0.0))


def test_events() -> None:
    names = {name for row in rows(section(CONFIGURATION, "Events")) for name in code_words(row[0])}
    assert names == {each.name for each in fields(Event)}


def test_states() -> None:
    table = rows(section(PAGES["docs/life-cycle.md"], "States"))[1:]
    told = {row[0].strip("`"): row[1].strip("`") for row in table}
    assert told == {str(state): state.value for state in State}


def test_loggers() -> None:
    told = {row[0].strip("`") for row in rows(section(CONFIGURATION, "Logging"))[1:]}
    real = {
        name
        for path in SOURCES
        for name in re.findall(r'\blogger\("([^"]+)"\)', path.read_text("utf-8"))
    }
    assert told == real


def test_environment() -> None:
    names = code_words(section(CONFIGURATION, "Environment variables"))
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file()]
    text = "\n".join(path.read_text("utf-8") for path in [*SOURCES, *scripts])
    used = set(re.findall(r"\bSSHMUX_[A-Z_]+\b", text))
    inner = {"SSHMUX_ROOT", "SSHMUX_BENCH_CWD"}  # set by a script, for a script
    assert used - inner <= names


# The command


def test_parts_of_the_command() -> None:
    page = PAGES["docs/command.md"]
    context = click.Context(cli)
    names = set(cli.list_commands(context))
    assert set(re.findall(r"^## sshmux (\w+)$", page, re.MULTILINE)) == names
    for name in names:
        command = cli.get_command(context, name)
        assert command is not None
        check_options(command, section(page, f"sshmux {name}"))
    check_options(cli, page.partition("\n## ")[0])


def check_options(command: click.Command, text: str) -> None:
    told = {name.split()[0] for row in rows(text) for name in code_words(row[0]) if name[0] == "-"}
    parts = [command]
    if isinstance(command, click.Group) and command is not cli:
        parts += command.commands.values()
    params = [each for part in parts for each in part.params]
    real = {name for each in params if isinstance(each, click.Option) for name in each.opts}
    assert told - {"-h", "--help"} == real, command.name


# Code and links


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_compile(page: str) -> None:
    for code in blocks(PAGES[page], "python"):
        compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES)
def test_what_python_blocks_import_is_there(page: str) -> None:
    for code in blocks(PAGES[page], "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sshmux"):
                module = __import__(node.module, fromlist=["x"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (ROOT / page).parent / path if path else ROOT / page
        assert other.exists(), f"{page}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", other.read_text("utf-8"), re.MULTILINE)
            assert anchor in {slug(title) for title in titles}, f"{page}: {target}"


def slug(title: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_page_is_reached_from_the_front_page() -> None:
    for page in PAGES:
        assert page == "README.md" or f"({page})" in PAGES["README.md"], page


def test_the_version_has_an_entry_in_the_changelog() -> None:
    assert f"## {sshmux.__version__}" in PAGES["docs/changelog.md"]
