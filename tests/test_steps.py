"""A report runs the steps that are stale, and no others."""

import json

import pytest
from test_book import write_notebook

from spineseg import paths
from spineseg.config import Config
from spineseg.report import book


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A checkout with two notebooks; `ran` has the names of those that were run, `printed` counts books."""
    home = tmp_path / "checkout"
    for folder in ("notebooks", "book", "spineseg", "benchmarks", "data/weights"):
        (home / folder).mkdir(parents=True)
    for name in ("01_a", "02_b"):
        write_notebook(
            home / "notebooks" / f"{name}.ipynb", "print(1)", parameters='profile = "smoke"\nrun = ""\nepochs = 0'
        )
    (home / "book" / "index.md").write_text("# A book")
    (home / "_config.yml").write_text("title: A book")
    (home / "_toc.yml").write_text("root: book/index")
    (home / "spineseg" / "a.py").write_text("x = 1")
    monkeypatch.setenv("SPINESEG_HOME", str(home))
    monkeypatch.setenv("SPINESEG_REALCT", str(tmp_path / "none"))
    monkeypatch.setattr(book, "source_folder", lambda: home)
    monkeypatch.setattr(book, "check_kernel", lambda: None)
    monkeypatch.setattr(book, "provenance_page", lambda *_: "# Where from")
    monkeypatch.setattr(book, "foot", lambda *_: "<p>foot</p>")
    monkeypatch.setattr(book, "headline", lambda _: {})

    class Site:
        folder, ran, printed, dies = home, [], 0, ""

        def report(self, epochs=None):
            self.ran.clear()
            parameters = {} if epochs is None else {"epochs": epochs}
            book.build(Config.load("smoke"), parameters)
            return list(self.ran)

    site = Site()

    def execute(source, target, parameters):
        if source.stem == site.dies:
            raise RuntimeError("the kernel died")
        site.ran.append(source.stem)
        views = target.parents[1] / "book" / "_static" / "views"
        views.mkdir(parents=True, exist_ok=True)
        (views / f"{source.stem}.html").write_text("seen")
        target.write_text(json.dumps({"cells": [], "metadata": {}, "parameters": parameters}))
        return {"notebook": source.name, "seconds": 0.0}

    def printed(stage):
        site.printed += 1
        (stage / "html").mkdir()
        (stage / "html" / "index.html").write_text("book")
        return stage / "html" / "index.html"

    monkeypatch.setattr(book, "execute", execute)
    monkeypatch.setattr(book, "_print_book", printed)
    return site


BOTH = ["01_a", "02_b"]


def test_the_same_report_said_again_runs_and_prints_nothing(site):
    assert site.report() == BOTH and site.report() == [] and site.printed == 1


def test_a_step_that_died_is_run_again_and_those_before_it_are_not(site):
    site.dies = "02_b"
    with pytest.raises(RuntimeError, match="died"):
        site.report()
    assert site.ran == ["01_a"] and not (paths.build_folder("smoke") / "manifest.json").exists()
    site.dies = ""
    assert site.report() == ["02_b"] and site.printed == 1
    views = paths.build_folder("smoke") / "book" / "_static" / "views"
    assert sorted(p.name for p in views.iterdir()) == ["01_a.html", "02_b.html"]


@pytest.mark.parametrize("path", ["spineseg/a.py", "notebooks/01_a.ipynb", "benchmarks/results.json"])
def test_other_code_other_notebooks_and_other_measurements_are_other_steps(site, path):
    site.report()
    with (site.folder / path).open("a") as file:
        file.write("\n")
    assert site.report() == BOTH and site.printed == 2


def test_what_comes_after_a_changed_notebook_is_run_again_and_what_comes_before_is_not(site):
    site.report()
    with (site.folder / "notebooks" / "02_b.ipynb").open("a") as file:
        file.write("\n")
    assert site.report() == ["02_b"]


def test_another_parameter_is_another_step(site):
    site.report()
    assert site.report(epochs=3) == BOTH and site.report(epochs=3) == []


def test_prose_is_printed_anew_without_running_anything(site):
    site.report()
    (site.folder / "book" / "index.md").write_text("# Another title")
    assert site.report() == [] and site.printed == 2
    assert (paths.build_folder("smoke") / "book" / "index.md").read_text() == "# Another title"


def test_a_damaged_notebook_is_run_again(site):
    site.report()
    (paths.build_folder("smoke") / "notebooks" / "01_a.ipynb").write_text("{}")
    assert site.report() == BOTH


def test_networks_that_were_trained_since_make_the_steps_that_saw_others_stale(site):
    folder = paths.run_folder("smoke") / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "fine-best.json").write_text('{"sha256": "a"}')
    assert site.report() == BOTH and site.report() == []
    (folder / "fine-best.json").write_text('{"sha256": "b"}')
    assert site.report() == BOTH and site.report() == []


def test_pages_of_volumes_that_nothing_refers_to_any_more_go(site):
    site.report()
    old = paths.build_folder("smoke") / "book" / "_static" / "views" / "old.html"
    old.write_text("old")
    site.report(epochs=2)
    assert not old.exists()
