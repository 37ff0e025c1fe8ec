"""Imports point down: anatomy < data < evaluation < learning < report < commands < cli; some modules are the ground."""

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import spineseg

PACKAGE = Path(spineseg.__file__).parent
FLOORS = ("ground", "anatomy", "data", "evaluation", "learning", "report", "commands", "cli")
GROUND = {
    "spineseg",
    *(
        f"spineseg.{m}"
        for m in ("config", "limits", "profiles", "errors", "options", "overriding", "paths", "anatomy.labels")
    ),
}
# so that a bare GPU machine can train on phantoms that it makes itself
LIGHT = {"torch", "numpy", "pandas", "lightning", "safetensors", "tqdm", "spineseg"} | set(sys.stdlib_module_names)


def modules(package):
    """Dotted name and syntax tree of each module below a folder named spineseg."""
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        yield ".".join(p for p in parts if p != "__init__"), ast.parse(file.read_text("utf-8"), str(file)), file


def floor(module):
    if module in GROUND:
        return 0
    name = module.split(".")[1].replace("__main__", "cli")
    if name not in FLOORS:
        raise ValueError(f"{module} stands on no known floor; the floors are {', '.join(FLOORS)}")
    return FLOORS.index(name)


def imports(tree, module, is_package, known, *, everywhere=True):
    """Dotted names that a module imports; those of functions too if `everywhere`."""
    nodes = ast.walk(tree) if everywhere else at_module_level(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            found = [n for n in names if n in known]
            yield from found
            if len(found) < len(names):
                yield base


def at_module_level(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_module_level(child)


def graph(package):
    trees = list(modules(package))
    known = {name for name, _, _ in trees}
    return {
        name: {i for i in imports(tree, name, file.name == "__init__.py", known) if i in known and i != name}
        for name, tree, file in trees
    }


def upward(package):
    """Pairs of modules of which the first imports the second from a higher floor."""
    return sorted((m, i) for m, found in graph(package).items() for i in found if floor(i) > floor(m))


def cycles(package):
    """Pairs of modules that reach each other."""
    edges = graph(package)
    reach = {m: set(found) for m, found in edges.items()}
    for via, m in itertools.product(edges, edges):
        if via in reach[m]:
            reach[m] |= reach[via]
    return sorted((a, b) for a, b in itertools.combinations(sorted(edges), 2) if b in reach[a] and a in reach[b])


def heavy(package):
    """Pairs of module and package of `anatomy` and `learning` modules that import more than the light ones."""
    trees = list(modules(package))
    known = {name for name, _, _ in trees}
    return sorted(
        (name, found)
        for name, tree, file in trees
        if name.split(".")[1:2] in (["anatomy"], ["learning"])
        for found in imports(tree, name, file.name == "__init__.py", known, everywhere=False)
        if found.split(".")[0] not in LIGHT
    )


@pytest.fixture
def tree(tmp_path):
    """A small package that keeps the rules."""
    files = {
        "__init__.py": "", "config.py": "", "errors.py": "", "paths.py": "", "cli.py": "import spineseg.report.book\n",
        "anatomy/labels.py": "", "anatomy/shapes.py": "import torch\nfrom spineseg.anatomy.labels import IDS\n",
        "data/__init__.py": "", "data/nifti.py": "import nibabel\nfrom spineseg.anatomy import shapes\n",
        "data/store.py": "from . import nifti\n",
        "learning/training.py": "import lightning as L\nfrom spineseg.data.store import load\n",
        "report/book.py": "import spineseg.learning.training\n",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / "spineseg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "spineseg"


def test_no_module_imports_from_a_floor_above():
    assert upward(PACKAGE) == []


def test_no_two_modules_import_each_other():
    assert cycles(PACKAGE) == []


def test_anatomy_and_learning_need_only_light_packages():
    assert heavy(PACKAGE) == []


def test_every_module_stands_on_a_known_floor():
    for name, _, _ in modules(PACKAGE):
        assert floor(name) >= 0


def test_a_tree_that_keeps_the_rules_passes(tree):
    assert upward(tree) == cycles(tree) == heavy(tree) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from spineseg.learning.training import train\n",
        "import spineseg.learning.training\n",
        "from spineseg.learning import training\n",
        "from ..learning import training\n",
        "from ..learning.training import train\n",
        "def later():\n    from spineseg.learning import training\n",
    ],
)
def test_a_planted_upward_import_is_caught(tree, planted):
    (tree / "data" / "store.py").write_text(planted)
    assert ("spineseg.data.store", "spineseg.learning.training") in upward(tree)


def test_the_ground_may_import_no_floor(tree):
    (tree / "config.py").write_text("from spineseg.anatomy.shapes import box\n")
    assert upward(tree) == [("spineseg.config", "spineseg.anatomy.shapes")]


def test_a_planted_cycle_on_one_floor_is_caught_even_around_three_modules(tree):
    (tree / "data" / "nifti.py").write_text("from spineseg.data import cohort\n")
    (tree / "data" / "cohort.py").write_text("def f():\n    from spineseg.data.store import load\n")
    assert ("spineseg.data.nifti", "spineseg.data.store") in cycles(tree)
    assert upward(tree) == []


def test_a_planted_heavy_import_is_caught_at_module_level_only(tree):
    (tree / "learning" / "training.py").write_text("def f():\n    import nibabel\n")
    assert heavy(tree) == []
    (tree / "learning" / "training.py").write_text("try:\n    import nibabel\nexcept ImportError:\n    pass\n")
    assert heavy(tree) == [("spineseg.learning.training", "nibabel")]


def test_an_unknown_floor_is_an_error(tree):
    (tree / "attic").mkdir()
    (tree / "attic" / "old.py").write_text("from spineseg import config\n")
    with pytest.raises(ValueError, match="attic"):
        upward(tree)


@pytest.mark.parametrize("statement", ["import spineseg", "import spineseg.config, spineseg.paths, spineseg.errors"])
def test_importing_the_package_does_not_load_torch(statement):
    loaded = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "spineseg" in loaded
    assert not {"torch", "lightning", "nibabel", "matplotlib", "pandas", "scipy"} & set(loaded)


def test_the_metrics_of_training_need_neither_edt_nor_cc3d_to_be_imported():
    hidden = "import sys; sys.modules.update(edt=None, cc3d=None, scipy=None, nibabel=None)"
    subprocess.run([sys.executable, "-c", f"{hidden}; import spineseg.evaluation.metrics"], check=True)
