"""The files that say what is installed agree with each other."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared():
    extras = PROJECT["optional-dependencies"]
    return {*PROJECT["dependencies"], *extras["architectures"], *extras["book"], *extras["dev"]}


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def test_conda_environment_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    by_pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(by_pip) == sorted(declared())


def test_conda_environment_has_the_same_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python"))
    assert python == f"python {PROJECT['requires-python']}"


def test_every_declared_package_is_pinned_once_and_no_local_build_is():
    lines = [line for name in ("requirements", "requirements-torch") for line in (ROOT / f"{name}.txt").open()]
    pins = [line.split()[0] for line in lines if not line.startswith((" ", "#"))]
    assert {name_of(r) for r in declared()} <= {name_of(p) for p in pins}
    assert len({name_of(p) for p in pins}) == len(pins)
    assert not [p for p in pins if "+" in p or "==" not in p]


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_continuous_integration_runs_make_test_and_nothing_else():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("exec")]
    assert commands == ["exec make test"]
