"""The first two chapters run as they lie on every layout, in one process, cell by cell."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from builders import LAYOUTS, write_layout

from spineseg.anatomy.phantom import generate

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CHAPTERS = ("01_eda", "02_preprocessing")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Four phantoms in each layout."""
    cases = {}
    for i, seed in enumerate((3, 5, 8, 4)):
        made = generate(seed, spacing_mm=7.0)
        cases[i] = (made.ct_hu, made.labels, made.affine)
    made = {}
    for layout in LAYOUTS:
        made[layout] = tmp_path_factory.mktemp(layout)
        write_layout(layout, made[layout], cases)
    return made


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_chapters_run_on_every_layout(folders, layout, chapter, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    overrides = {"cohort.layout": "auto", "cohort.folder": str(folders[layout]), "cluster.workers": 1}
    for cell in json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), chapter, "exec"), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names["overrides"] = overrides
            plt.close("all")
    said = capsys.readouterr().out
    assert "n_cases 4" in said and (chapter != "01_eda" or f"layout {layout}" in said)
