"""The book: what it is made of, and what it refuses."""

import base64
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from spineseg.config import Config
from spineseg.report import book, execution
from spineseg.report.api import api_page

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
COMPARED = "nbval-check-output"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def write_notebook(path, *sources, parameters='profile = "smoke"\nrun = ""'):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in (parameters, *sources)])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


# the checkout


def test_table_of_contents_names_files_that_exist_and_every_notebook():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    names = [contents["root"], *(c["file"] for part in contents["parts"] for c in part["chapters"])]
    assert not [n for n in names if not any((ROOT / f"{n}{end}").is_file() for end in (".md", ".ipynb"))]
    assert {f"notebooks/{p.stem}" for p in NOTEBOOKS} <= set(names)


def test_every_module_is_on_the_api_page():
    assert (ROOT / "book" / "api.md").read_text() == api_page(), "run `make api`"


def test_book_serves_every_script_and_font_itself():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert (ROOT / "book" / "_static" / settings["mathjax_path"]).is_file()
    assert list((ROOT / "book" / "_static" / "mathjax").rglob("*.woff"))
    assert not settings["nb_ipywidgets_js"]


@each_notebook
def test_notebook_declares_profile_run_and_overrides_as_plain_values(path):
    declared = book.declared_parameters(path)
    assert {"profile", "run", "overrides"} <= set(declared)
    assert declared["profile"]["default"].strip("\"'") == "smoke"


@each_notebook
def test_notebook_stores_a_compared_output(path):
    compared = [c for c in code_cells(path) if COMPARED in tags(c)]
    assert any(c.outputs for c in compared), "nbval passes on a stripped notebook; run `make notebooks`"


@each_notebook
def test_notebook_stores_no_other_output(path):
    assert not [c.source for c in code_cells(path) if c.outputs and COMPARED not in tags(c)]
    assert not [c.source for c in code_cells(path) if (COMPARED in tags(c)) != ("keep_output" in tags(c))]


@each_notebook
def test_notebook_cells_are_short_and_define_nothing(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 12, cell.source
        assert not re.search(r"^\s*(def|class) ", cell.source, re.M), cell.source


@each_notebook
def test_notebook_prose_leads_code(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    kinds = "".join("c" if c.cell_type == "code" else "m" for c in cells)
    assert max(map(len, kinds.split("m"))) <= 2


# parameters


def test_unknown_parameter_is_rejected_and_the_known_ones_are_listed(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", parameters='profile = "smoke"\nrun = ""\nepochs = 2')
    with pytest.raises(ValueError, match=r"unknown parameter 'epoch'; known: epochs, profile, run"):
        book.check_parameters(Config.load("smoke"), {"epoch": 3}, [path])


def test_each_notebook_receives_what_it_declares(tmp_path):
    first = write_notebook(tmp_path / "01_a.ipynb")
    second = write_notebook(tmp_path / "02_b.ipynb", parameters='profile = "smoke"\nrun = ""\nepochs = 2')
    chosen = book.check_parameters(Config.load("smoke", "night"), {"epochs": "70"}, [first, second])
    assert chosen["01_a.ipynb"] == {"profile": "smoke", "run": "night"}
    assert chosen["02_b.ipynb"] == {"profile": "smoke", "run": "night", "epochs": 70}


def test_impossible_override_is_rejected_before_anything_runs(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", parameters='profile = "smoke"\nrun = ""\noverrides = {}')
    with pytest.raises(ValueError, match="unknown parameter 'training.epoch'"):
        book.check_parameters(Config.load("smoke"), {"overrides": '{"training.epoch": 3}'}, [path])


def test_option_that_departs_from_the_profile_reaches_the_notebooks(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb", parameters='profile = "smoke"\nrun = ""\noverrides = {}')
    config = Config.load("smoke", **{"training.seed": 7, "fine.patch": (16, 16, 16)})
    chosen = book.check_parameters(config, {"overrides": {"training.epochs": 3}}, [path])
    expected = {"training.seed": 7, "fine.patch": [16, 16, 16], "training.epochs": 3}
    assert chosen["01_a.ipynb"]["overrides"] == expected
    assert Config.load("smoke", **expected).fine.patch == (16, 16, 16)


def test_profile_cannot_be_given_twice_with_different_values(tmp_path):
    path = write_notebook(tmp_path / "01_a.ipynb")
    with pytest.raises(ValueError, match="'profile' is 'smoke' already, got 'demo'"):
        book.check_parameters(Config.load("smoke"), {"profile": "demo"}, [path])


@pytest.mark.parametrize("run", ["html", "../elsewhere", ".doctrees"])
def test_run_name_that_would_collide_is_rejected(tmp_path, run):
    with pytest.raises(ValueError, match="plain folder name"):
        book.check_parameters(Config.load("smoke", run), {}, [write_notebook(tmp_path / "01_a.ipynb")])


def test_no_notebooks_is_an_error():
    with pytest.raises(FileNotFoundError, match="no notebooks"):
        book.check_parameters(Config.load("smoke"), {}, [])


# the steps


def test_kernel_of_another_environment_is_named(monkeypatch):
    execution.check_kernel()
    monkeypatch.setattr(sys, "prefix", "/somewhere/else")
    with pytest.raises(RuntimeError, match="kernel 'python3' runs in .*expected /somewhere/else"):
        execution.check_kernel()


def test_missing_kernel_is_named():
    with pytest.raises(RuntimeError, match="knows no kernel 'no-such-kernel'"):
        execution.check_kernel("no-such-kernel")


def test_failing_notebook_stops_the_report_and_names_cell_and_error(tmp_path):
    source = write_notebook(tmp_path / "01_a.ipynb", "1 / 0")
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        execution.execute(source, tmp_path / "out" / "01_a.ipynb", {"run": "x"})


def test_executed_notebook_runs_beside_the_staged_book_with_its_parameters(tmp_path):
    source = write_notebook(tmp_path / "01_a.ipynb", "from pathlib import Path\nprint(Path.cwd().name, run)")
    (tmp_path / "stage").mkdir()
    step = execution.execute(source, tmp_path / "stage" / "01_a.ipynb", {"run": "night"})
    assert step["notebook"] == "01_a.ipynb" and step["seconds"] > 0
    assert code_cells(tmp_path / "stage" / "01_a.ipynb")[-1].outputs[0].text == "stage night\n"


def test_staged_book_executes_nothing_and_leaves_views_behind(tmp_path):
    book.stage_prose(ROOT, tmp_path)
    assert yaml.safe_load((tmp_path / "_config.yml").read_text())["execute"] == {"execute_notebooks": "off"}
    assert (tmp_path / "book" / "index.md").is_file() and not (tmp_path / "book" / "_static" / "views").exists()
    assert list((tmp_path / "notebooks").iterdir()) == []


def test_widget_state_is_stripped(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": {"widgets": {"x": 1}, "kernelspec": {}}}))
    execution.strip_widgets(path)
    assert json.loads(path.read_text())["metadata"] == {"kernelspec": {}}


def test_first_page_takes_the_picture_of_the_run(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book" / "_static").mkdir(parents=True)
    assert not book.take_overview(tmp_path)
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(b"picture").decode()})
    cell = nbformat.v4.new_code_cell("draw()", outputs=[output])
    cell.metadata["mystnb"] = {"figure": {"name": book.OVERVIEW, "caption": "n = 1"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "04_evaluation.ipynb")
    assert book.take_overview(tmp_path)
    assert (tmp_path / "book" / "_static" / "overview.png").read_bytes() == b"picture"


def test_folder_without_a_book_falls_back_on_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert book.source_folder() == ROOT
