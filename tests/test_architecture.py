"""The imports, sizes and bans of DESIGN section 1."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    {"configs", "registry", "files", "ops"},
    {"losses", "metrics", "models", "stats", "data", "report"},
    {"inference", "saliency", "attacks"},
    {"training"},
    {"studies"},
    {"cli"},
    {"scripts"},
)
BETWEEN_SIBLINGS = {("metrics", "stats"), ("attacks", "saliency")}
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
SOURCES = sorted([*(ROOT / "kseg").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])


def unit_of(path):
    """The first-level part of the library that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "scripts" if parts[0] == "scripts" else parts[1]


def absolute_imports(path):
    """Every module and every name imported from one, anywhere in a file, as dotted names."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def wrong_imports(path):
    own = unit_of(path)
    for name in absolute_imports(path):
        package, *rest = name.split(".")
        if package == "scripts":
            yield name
        if package != "kseg" or not rest or rest[0] in (own, "__version__"):
            continue
        below = own in LEVEL and LEVEL.get(rest[0], len(LAYERS)) < LEVEL[own]
        if not below and (own, rest[0]) not in BETWEEN_SIBLINGS:
            yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    assert list(wrong_imports(path)) == []


def test_every_part_of_the_library_has_a_layer():
    parts = {unit_of(path) for path in SOURCES if path != ROOT / "kseg/__init__.py"}
    assert parts <= set(LEVEL)


def test_no_file_is_long_and_scripts_are_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert [path.name for path, count in lines.items() if count > 300] == []
    scripts = [path for path in lines if path.parent.name == "scripts" and not path.name.startswith("bench_")]
    assert scripts
    assert [path.name for path in scripts if lines[path] >= 40] == []


def test_importing_kseg_loads_no_tensorflow():
    code = "import sys, kseg, kseg.configs, kseg.registry; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("unit", ["ops", "losses", "metrics", "saliency", "attacks"])
def test_graph_code_never_calls_back_to_python(unit):
    calls = {"py_function", "numpy_function", "py_func", "eager_py_func"}
    found = [
        f"{path.name}: {name}"
        for path in (ROOT / "kseg" / unit).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in [getattr(node, "attr", getattr(node, "id", None))]
        if name in calls
    ]
    assert found == []


def test_configs_need_the_standard_library_only():
    names = {name for path in (ROOT / "kseg/configs").glob("*.py") for name in absolute_imports(path)}
    assert names
    assert {name.split(".")[0] for name in names if not name.startswith("kseg.configs.")} <= sys.stdlib_module_names
