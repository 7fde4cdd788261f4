"""The rooms: who may import whom, who may dial, and who must not do I/O. Read from the sources."""

from __future__ import annotations

import ast
import functools
import graphlib
from dataclasses import dataclass
from pathlib import Path

import pytest

import sshmux

ROOT = Path(sshmux.__file__).parent


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    at_runtime: bool
    at_top: bool


def module_name(path: Path) -> str:
    parts = ["sshmux", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in ROOT.rglob("*.py")}


# Read where a test asks for them: each worker of pytest-xdist imports this module.


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text("utf-8"))


@functools.cache
def imports_of(name: str) -> list[Import]:
    package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def visit(node: ast.AST, runtime: bool, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, False, top)
            elif isinstance(child, ast.Import):
                found.extend(Import(name, alias.name, runtime, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) + 1 - child.level])
                prefix = base if child.level else ""
                whole = ".".join(part for part in (prefix, child.module) if part)
                for alias in child.names:
                    inner = f"{whole}.{alias.name}"
                    target = inner if inner in SOURCES else whole
                    found.append(Import(name, target, runtime, top))
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                visit(child, runtime, top and not inside)

    visit(tree_of(name), True, True)
    return found


# Lower floors first, a package a floor. The packages inside openssh have floors of their own below.
FLOORS = [
    {
        *("sshmux.errors", "sshmux.checks", "sshmux.config", "sshmux.text"),
        "sshmux.asyncssh_names",
    },
    {"sshmux.system"},
    {"sshmux.openssh"},
    {"sshmux.session"},
    {"sshmux.login", "sshmux.sftp", "sshmux.transfer", "sshmux.forwards"},
    {"sshmux.connection"},
    {"sshmux.pool"},
    {"sshmux.manager"},
    {"sshmux.runner"},
    {"sshmux.testing"},
    {"sshmux.cli"},
    {"sshmux.__main__"},
]
OPENSSH_FLOORS = [
    {"sshmux.openssh.askpass"},
    {"sshmux.openssh"},  # the modules that are in no package
    {"sshmux.openssh.mux"},
    {"sshmux.openssh.control"},
    {"sshmux.openssh.engines"},
]


def floor(name: str, floors: list[set[str]] = FLOORS) -> int | None:
    """The floor of a module: its own, or that of the nearest package around it."""
    while name:
        for level, rooms in enumerate(floors):
            if name in rooms:
                return level
        name = name.rpartition(".")[0]
    return None


def room(name: str) -> str:
    """The package on FLOORS that a module belongs to."""
    rooms = set.union(*FLOORS)
    while name and name not in rooms:
        name = name.rpartition(".")[0]
    return name


def imports_inside(name: str) -> list[str]:
    found = [each.imported for each in imports_of(name)]
    return [each for each in found if each.startswith("sshmux.")]


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"sshmux"}))
def test_every_module_has_a_floor(name: str) -> None:
    assert floor(name) is not None, "give it a room in FLOORS, and in docs/design.md"


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"sshmux"}))
def test_imports_go_down_or_stay_in_the_room(name: str) -> None:
    own = floor(name)
    assert own is not None
    for imported in imports_inside(name):
        other = floor(imported)
        assert other is not None
        beside = room(imported) == room(name) or {room(imported), room(name)} <= FLOORS[0]
        assert other < own or beside, f"{name} (floor {own}) imports {imported} (floor {other})"


@pytest.mark.parametrize("name", sorted(each for each in SOURCES if "sshmux.openssh." in each))
def test_imports_inside_openssh_go_down_or_stay_in_the_package(name: str) -> None:
    own = floor(name, OPENSSH_FLOORS)
    for imported in imports_inside(name):
        if imported.startswith("sshmux.openssh"):
            other = floor(imported, OPENSSH_FLOORS)
            assert other is not None
            assert own is not None
            assert other <= own, f"{name} (floor {own}) imports {imported} (floor {other})"


def test_no_module_imports_the_front_door() -> None:
    """`import sshmux` inside would make every module a part of one circle."""
    guests = {"sshmux.testing", "sshmux.cli"}
    for name in SOURCES:
        if not any(name.startswith(guest) for guest in guests):
            found = {each.imported for each in imports_of(name) if each.at_runtime}
            assert "sshmux" not in found, name


def test_there_are_no_circles_not_even_for_the_type_checker() -> None:
    graph = {
        name: {each.imported for each in imports_of(name) if each.imported in SOURCES}
        for name in SOURCES
        if name != "sshmux"
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


PURE = [
    "sshmux.config",
    "sshmux.system.secret",
    "sshmux.openssh.argv",
    "sshmux.openssh.jump",
    "sshmux.openssh.remote",
    "sshmux.openssh.askpass.prompts",
    "sshmux.openssh.askpass.own_log",
    "sshmux.openssh.diagnostics",
    "sshmux.openssh.mux.decoder",
    "sshmux.openssh.mux.fields",
    "sshmux.openssh.mux.protocol",
    "sshmux.openssh.trace",
    "sshmux.forwards.endpoints",
    "sshmux.sftp.attrs",
    "sshmux.sftp.changes",
    "sshmux.sftp.fields",
    "sshmux.sftp.messages",
    "sshmux.system.links",
    "sshmux.system.selection",
    "sshmux.sftp.paths",
    "sshmux.sftp.statuses",
    "sshmux.sftp.text",
    "sshmux.cli.report",
    "sshmux.pool.slots",
    "sshmux.pool.stats",
    "sshmux.runner.dialects.base",
    "sshmux.runner.handle",
    "sshmux.runner.states",
]
INPUT_OUTPUT = {
    *["asyncio", "socket", "subprocess", "select", "selectors", "threading", "multiprocessing"],
    *["signal", "shutil", "tempfile", "fcntl", "pty", "psutil", "pexpect", "keyring", "time"],
}


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_no_input_and_output(name: str) -> None:
    assert not {each.imported.partition(".")[0] for each in imports_of(name)} & INPUT_OUTPUT


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_ask_the_system_nothing(name: str) -> None:
    allowed = {"PathLike", "fspath"} | ({"access", "R_OK"} if name == "sshmux.config" else set())
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            assert node.attr in allowed, ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}


def uses(name: str, module: str, attribute: str) -> bool:
    """Whether a module's source names `attribute` of `module`, in whatever way."""
    last = module.rpartition(".")[2]
    imported = any(each.imported == module for each in imports_of(name))
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute):
            whose = ast.unparse(node.value).rpartition(".")[2]
            if imported and (whose, node.attr) == (last, attribute):
                return True
        elif isinstance(node, ast.ImportFrom):
            whose = (node.module or "").rpartition(".")[2]
            if whose == last and attribute in {alias.name for alias in node.names}:
                return True
    return False


def test_one_module_dials() -> None:
    argv = "sshmux.openssh.argv"
    assert [name for name in SOURCES if uses(name, argv, "master")] == [
        "sshmux.openssh.control.dial"
    ]
    assert uses("sshmux.openssh.resolve", argv, "resolve")  # the search finds what is there


def test_one_function_dials() -> None:
    callers = [
        function.name
        for function in ast.walk(tree_of("sshmux.openssh.control.dial"))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "argv.master"
    ]
    assert callers == ["dial"]


def test_every_command_line_but_two_goes_through_the_guard() -> None:
    makers = {
        function.name: {
            ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)
        }
        for function in tree_of("sshmux.openssh.argv").body
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_")
    }
    unguarded = {name for name, calls in makers.items() if "guard" not in calls}
    assert unguarded == {"master", "resolve", "guard", "escape_path"}
    assert len(makers) > len(unguarded)


STARTERS = {"Popen", "run", "check_output", "check_call", "call"}


def test_ssh_is_started_from_argv_and_from_nowhere_else() -> None:
    """A literal list that begins with ssh would be a command line without the rules."""
    for name in SOURCES:
        if name.startswith(("sshmux.testing", "sshmux.cli")) or name == "sshmux.openssh.argv":
            continue
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.List) and node.elts:
                first = node.elts[0]
                assert not (isinstance(first, ast.Constant) and first.value == "ssh"), name


def test_processes_are_started_in_two_places() -> None:
    starters = {
        name
        for name in SOURCES
        if not name.startswith(("sshmux.testing", "sshmux.cli"))
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "subprocess"
        and node.func.attr in STARTERS
    }
    assert starters == {"sshmux.system.processes", "sshmux.openssh.askpass.helper"}
