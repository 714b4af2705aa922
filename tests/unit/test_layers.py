"""The architecture as a test: imports point one way, and pure packages import no I/O."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "deuteron"

MAY_IMPORT = {
    "model": set(),
    "store": {"model"},
    "rules": {"model", "store", "net.mechanisms"},
    "hub": {"model", "store", "rules"},
    "api": {"model", "store", "rules", "hub"},
    "net": {"model"},
    "compute": {"model"},
    "volume": {"model"},
    "guest": {"model"},
    "appliance": {"model"},
    "agent": {"model", "net", "compute", "volume"},
    "trace": {"model", "net"},
    "learn": set(),
    "sandbox": {"model"},
    "dashboard": set(),
    "cli": {
        "model", "sandbox", "guest", "learn", "compute.probe", "net", "trace", "volume.registry", "store.engine",
        "store.postgresql",
    },
}  # fmt: skip
"""Each layer and what of ours it may import, besides itself."""

MAY_ASK = {
    "compute": {"network", "image", "volume", "identity", "hosts", "placement"},
    "volume": {"image", "identity", "hosts"},
    "network": {"identity", "hosts"},
    "image": {"identity"},
    "identity": set(),
    "hosts": {"placement"},
    "placement": set(),
}
"""Each service and whose rules its own may call: one direction, from what is built to what it is built of."""

PURE = (
    "net/plan",
    "net/mechanisms",
    "net/parted.py",
    "net/rows.py",
    "net/pipeline.py",
    "net/delta.py",
    "compute/domain.py",
    "compute/hardware.py",
    "trace",
    "learn",
    "model",
)
IO_MODULES = {"os", "socket", "subprocess", "sqlite3", "asyncio", "threading", "shutil", "pathlib", "libvirt"}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_a_layer_imports_only_the_layers_below_it(layer: str) -> None:
    wrong = []
    for path in sorted((SOURCE / layer).rglob("*.py")):
        for name in imports_of(path):
            if not name.startswith("deuteron."):
                continue
            inner = name.removeprefix("deuteron.")
            if inner.split(".")[0] == layer:
                continue
            if not any(inner == allowed or inner.startswith(f"{allowed}.") for allowed in MAY_IMPORT[layer]):
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("service", sorted(MAY_ASK))
def test_the_rules_of_a_service_ask_only_those_below_it(service: str) -> None:
    paths = sorted((SOURCE / "rules" / service).rglob("*.py"))
    assert len(paths) > 1, f"the rules of {service} are looked for in the wrong place"
    allowed = {service, *MAY_ASK[service]}
    wrong = []
    for path in paths:
        for name in imports_of(path):
            parts = name.split(".")
            if parts[:2] == ["deuteron", "rules"] and parts[2:3] and parts[2] not in allowed:
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert wrong == []


def test_nobody_reads_or_writes_the_tables_of_another_service() -> None:
    """The hub looks at all of them: what hosts should have is made of what every service has."""
    wrong, looked_at = [], 0
    for layer in ("rules", "api"):
        for path in sorted((SOURCE / layer).rglob("*.py")):
            service = path.relative_to(SOURCE / layer).parts[0]
            for name in imports_of(path):
                module = name.removeprefix("deuteron.store.").split(".")[0]
                if name.startswith("deuteron.store.") and module.endswith("tables"):
                    looked_at += 1
                    if module != f"{service}_tables":
                        wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert wrong == []
    assert looked_at > 100, "tables are looked for under another name"


def test_every_service_is_known_by_its_rules() -> None:
    folders = {path.name for path in (SOURCE / "rules").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(MAY_ASK)


@pytest.mark.parametrize("part", PURE)
def test_a_pure_part_imports_no_io(part: str) -> None:
    root = SOURCE / part
    paths = [root] if root.suffix == ".py" else sorted(root.rglob("*.py"))
    assert paths, f"{part} is gone: mend this list"
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in paths
        for name in imports_of(path)
        if name.split(".")[0] in IO_MODULES
    ]
    assert wrong == []


def test_every_package_belongs_to_a_layer() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(MAY_IMPORT)


def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(("deuteron", *path.relative_to(SOURCE).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


def test_no_module_imports_itself_by_others() -> None:
    """Imports for type checkers alone count too: a circle of names is a circle of thought."""
    paths = modules()
    assert len(paths) > 100
    imports = {
        name: {other for other in imports_of(path) & set(paths) if other != name} for name, path in paths.items()
    }
    for name, path in paths.items():
        # `from package import module` needs the module, not what the package gathers.
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and all(f"{node.module}.{each.name}" in paths for each in node.names):
                imports[name].discard(node.module or "")
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return []
        for other in sorted(imports[name]):
            if circle := visit(other, (*above, name)):
                return circle
        done.add(name)
        return []

    circles = [" -> ".join(circle) for name in sorted(paths) if (circle := visit(name, ()))]

    assert len(done) > 100, "the modules are looked for in the wrong place"
    assert circles == []


WORDS_OF_AN_ENGINE = {
    "sqlite3", "psycopg", "exec_driver_sql", "literal_column", "rowid", "ctid", "instr", "strpos", "json_each",
    "json_extract", "json_array_elements_text", "like", "ilike", "prefix_with", "on_conflict_do_update",
    "on_conflict_do_nothing",
}  # fmt: skip


def test_what_engines_say_differently_is_said_in_the_store_alone() -> None:
    """Statements of the rules mean the same on every engine; what does not is written in `store/expressions.py`."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] == "store":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            names += [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            wrong += [f"{path.relative_to(SOURCE)} uses {name}" for name in names if name in WORDS_OF_AN_ENGINE]
    assert wrong == []


CUTS_ITS_OWN = {
    "api/compute/volumes.py": "the few volumes of one server, and what older clients ask of a whole page",
    "rules/compute/lifecycle.py": "forgets so many of the oldest servers at once",
    "rules/volume/messages.py": "forgets so many of the oldest messages at once",
    "rules/network/address_scopes.py": "looks at so many numbers for a free one",
    "rules/network/addresses.py": "looks at so many addresses for a free one",
    "rules/network/segments.py": "looks at so many numbers for a free one",
    "api/volume/manage.py": "disks that a host tells of are in no table",
}
"""Modules of services that take a part of many rows for another reason than a page of a list."""


def test_no_service_pages_by_itself() -> None:
    """A page is cut in the store alone: one row may be asked for anywhere, a part of many only as `listing` asks."""
    found: dict[str, list[str]] = {}
    bounds = {"limit", "size", "most", "offset", "marker"}
    for layer in ("rules", "api"):
        for path in sorted((SOURCE / layer).rglob("*.py")):
            name = str(path.relative_to(SOURCE))
            for node in ast.walk(ast.parse(path.read_text())):
                said = None
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    of_one = [ast.unparse(each) for each in node.args] == ["1"]
                    if node.func.attr in ("limit", "offset", "fetch") and len(node.args) == 1 and not of_one:
                        said = ast.unparse(node)
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Page":
                    said = ast.unparse(node)
                elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                    inner = {each.id for each in ast.walk(node.slice) if isinstance(each, ast.Name)}
                    inner |= {each.attr for each in ast.walk(node.slice) if isinstance(each, ast.Attribute)}
                    said = ast.unparse(node) if inner & bounds else None
                if said is not None:
                    found.setdefault(name, []).append(said)
    assert {name: said for name, said in found.items() if name not in CUTS_ITS_OWN} == {}
    assert set(found) == set(CUTS_ITS_OWN), "an exception is no longer one"


def test_no_service_reads_the_words_of_a_page_by_itself() -> None:
    """`limit`, `marker` and the like of a query are read by `listing.read`."""
    words = {"limit", "marker", "sort_key", "sort_dir"}
    wrong = []
    for path in sorted((SOURCE / "api").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"):
                continue
            asks = ast.unparse(node.func.value) == "call"
            if asks and node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value in words:
                wrong.append(f"{path.relative_to(SOURCE)} asks for {node.args[0].value}")
    assert wrong == [
        # How long a page may be in the event loop.
        "api/network/objects.py asks for limit"
    ]


ON_HOSTS_ONLY = ("deuteron.net.kernel", "deuteron.net.plan", "deuteron.net.reconcile", "deuteron.net.host")


def test_the_api_loads_of_mechanisms_only_what_it_asks() -> None:
    """In a process of its own, with every module that the API has once it has found its mechanisms."""
    program = (
        "import sys, deuteron.api.main\n"
        "from deuteron.net.mechanisms import mechanisms_by_name\n"
        "assert mechanisms_by_name(['openvswitch'])[0].name == 'openvswitch'\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "deuteron.net.mechanisms.openvswitch.binding" in loaded
    halves = {f"deuteron.net.mechanisms.{name}" for name in ("wiring", "openvswitch.host", "openvswitch.tables")}
    assert not {name for name in loaded if name.startswith(ON_HOSTS_ONLY) or name in halves}


def test_the_api_loads_no_library_that_it_does_not_use() -> None:
    """Each costs every cloud megabytes: libraries load them for what is refused here, or for other ways to use them."""
    program = (
        "import sys, deuteron.api.main\n"
        "from deuteron.api.policy import Policy\n"
        "assert str(Policy({'get_network': 'role:admin'}).rules['get_network']) == 'role:admin'\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not {"requests", "sqlalchemy.orm", "alembic"} & set(done.stdout.split())


def test_modules_that_hosts_cannot_compile_are_compiled() -> None:
    """libvirt's binding is linked into the environment, which hosts see read-only: a start would compile it again."""
    specification = importlib.util.find_spec("libvirt")
    assert specification is not None and specification.cached is not None
    assert Path(specification.cached).exists()


def test_what_a_clone_says_of_its_entry_points_is_what_a_wheel_says() -> None:
    root = SOURCE.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    beside = ConfigParser(delimiters=("=",))
    beside.read(root / "src" / "deuteron.dist-info" / "entry_points.txt")
    assert {group: dict(beside[group]) for group in beside.sections()} == project["entry-points"]
    words = dict(line.split(": ") for line in (root / "src/deuteron.dist-info/METADATA").read_text().splitlines())
    assert (words["Name"], words["Version"]) == (project["name"], project["version"])


ONE_IDEA = {
    "model/intent.py": "the whole contract between the API and its hosts",
    "store/migrations/versions/0001_first.py": "the tables of the first schema, one after the other",
}
"""Files over 500 lines, and why each is one idea."""


def test_a_file_is_one_idea_of_at_most_500_lines() -> None:
    long = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if len(path.read_text().splitlines()) > 500}
    assert long == set(ONE_IDEA)
