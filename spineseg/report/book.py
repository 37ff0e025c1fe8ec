"""A report: papermill runs the notebooks into a staged copy of the book, Jupyter Book prints that copy.

Nothing in the checkout is touched. `_build/<run>/` receives the executed notebooks, the prose, the configuration and at
last `html/`; `manifest.json` is written when all of it succeeded and is missing otherwise. A notebook that was run with
the same code, parameters, data and networks is not run again, so a report that was cut short goes on where it was.
"""

from __future__ import annotations

import base64
import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import spineseg
from spineseg.config import Config
from spineseg.data.atomic import write_text
from spineseg.data.fetch.credentials import refuse_logins
from spineseg.learning.runs import alone
from spineseg.paths import build_folder, run_folder
from spineseg.report.execution import check_kernel, execute
from spineseg.report.provenance import flat, foot, headline, provenance_page
from spineseg.report.steps import Steps

OVERVIEW = "fig-overview"  # name of the figure that the first page shows too
RESERVED = ("html", "jupyter_execute")  # names that `jupyter-book build .` uses in the same folder


def build(config: Config, parameters: dict | None = None) -> Path:
    """Execute the notebooks for one run and print the book.

    Args:
        config: Gives `profile` and `run`, which every notebook receives, and what departs from the profile, which they
            receive as `overrides`.
        parameters: More notebook parameters by name, such as `{"epochs": 70}`; each notebook receives those that it
            declares. Text is read as YAML, so that `"70"` from a command line is a number.

    Returns:
        `_build/<run>/html/index.html`.

    Raises:
        ValueError: If no notebook declares a parameter (the known ones are listed), one is impossible or a login, or
            the name of the run is taken by Jupyter Book itself. Raised before anything runs.
        FileNotFoundError: If the notebooks are not found.
        RuntimeError: If the kernel belongs to another environment, a notebook fails, or the book has a warning.
    """
    source = source_folder()
    notebooks = sorted((source / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    chosen = check_parameters(config, parameters or {}, notebooks)
    check_kernel()
    stage = build_folder(config.run)
    manifest, index = stage / "manifest.json", stage / "html" / "index.html"
    with alone(stage):
        known = json.loads(manifest.read_text()) if manifest.is_file() and index.is_file() else {}
        records, steps = Steps(config, source, stage), []
        for notebook in notebooks:
            step = records.begin(notebook, chosen[notebook.name])
            if step is None:
                if known:
                    manifest.unlink()
                    known = {}
                stage_prose(source, stage, keep_views=bool(steps))
                step = execute(notebook, stage / "notebooks" / notebook.name, chosen[notebook.name])
                records.finish(notebook, step)
            steps.append(step)
        prose, numbers = records.prose(), headline(run_folder(config.run))
        if known.get("prose") != prose:
            manifest.unlink(missing_ok=True)
            stage_prose(source, stage)
            _write_provenance(config, chosen, steps, stage)
            take_overview(stage)
            index = _print_book(stage)
            done = {"run": config.run, "profile": config.profile, "notebooks": steps, "html": str(index)}
            write_text(manifest, json.dumps(done | {"prose": prose, "headline": numbers}, indent=1))
    print(f"\nreport: {index}")
    for name, value in numbers.items():
        print(f"  {name.replace('_', ' '):24} {f'{value:.3f}' if isinstance(value, float) else value}")
    return index


def source_folder() -> Path:
    """The checkout: the first folder upwards from the working folder that holds a book, else where the package lies.

    Raises:
        FileNotFoundError: If neither holds one.
    """
    here = Path.cwd().resolve()
    candidates = [here, *here.parents, Path(spineseg.__file__).resolve().parents[1]]
    for folder in candidates:
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir() and (folder / "spineseg").is_dir():
            return folder
    raise FileNotFoundError(
        f"{here}: no _toc.yml beside notebooks/ here or above; run the report inside a checkout of the project"
    )


def declared_parameters(notebook: Path) -> dict:
    """Parameters that a notebook's cell tagged `parameters` declares, as papermill reads them."""
    import papermill

    return papermill.inspect_notebook(str(notebook))


def check_parameters(config: Config, parameters: dict, notebooks: list[Path]) -> dict[str, dict]:
    """What each notebook will receive.

    papermill itself takes an unknown name without a word and runs with the default.

    Args:
        config: Gives `profile`, `run` and what departs from the profile.
        parameters: Values by name.
        notebooks: In the order of execution.

    Returns:
        `{file name: {parameter: value}}`.

    Raises:
        ValueError: As in `build`.
        FileNotFoundError: If there are no notebooks.
    """
    if not notebooks:
        raise FileNotFoundError("no notebooks/NN_name.ipynb found; the checkout is not complete")
    if config.run in RESERVED or config.run.startswith(".") or Path(config.run).name != config.run:
        raise ValueError(f"run must be a plain folder name other than {', '.join(RESERVED)}, got {config.run!r}")
    refuse_logins(parameters)
    values = {name: _read_value(name, value) for name, value in parameters.items()}
    for name, fixed in (("profile", config.profile), ("run", config.run)):
        if values.setdefault(name, fixed) != fixed:
            raise ValueError(f"parameter {name!r} is {fixed!r} already, got {values[name]!r}; give it once")
    declared = {path.name: declared_parameters(path) for path in notebooks}
    known = {name for parameters in declared.values() for name in parameters}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown parameter {', '.join(map(repr, unknown))}; known: {', '.join(sorted(known))}")
    overrides = values.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise ValueError(f"parameter 'overrides' must be a mapping of dotted names to values, got {overrides!r}")
    if overrides := changed_values(config) | overrides:
        values["overrides"] = overrides
    Config.load(config.profile, config.run, values.get("epochs") or None, **overrides)  # raises on an impossible value
    return {file: {name: values[name] for name in names if name in values} for file, names in declared.items()}


def changed_values(config: Config) -> dict:
    """Where a configuration departs from its profile, as overrides: `{"training.epochs": 70}`; lists, no tuples."""
    usual = dict(flat(Config.load(config.profile, config.run).to_dict()))
    present = flat(config.to_dict())
    return {name: list(v) if isinstance(v, tuple) else v for name, v in present if v != usual[name]}


def stage_prose(source: Path, stage: Path, *, keep_views: bool = True) -> None:
    """Copy the prose and the book's configuration, which is changed to print notebooks as they are.

    Args:
        source: The checkout.
        stage: Folder of the report.
        keep_views: Leave the pages of volumes that notebooks have written beside the prose.
    """
    stage.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(stage / "html", ignore_errors=True)
    for path in sorted((stage / "book").rglob("*"), reverse=True):  # all but the views that notebooks have made
        if not (keep_views and "views" in path.parts):
            path.unlink() if path.is_file() else _remove_empty(path)
    ignored = shutil.ignore_patterns("views")
    shutil.copytree(source / "book", stage / "book", ignore=ignored, dirs_exist_ok=True)
    shutil.copy(source / "_toc.yml", stage)
    settings = yaml.safe_load((source / "_config.yml").read_text())
    settings["execute"] = {"execute_notebooks": "off"}
    (stage / "notebooks").mkdir(exist_ok=True)
    write_text(stage / "_config.yml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def take_overview(stage: Path) -> bool:
    """Put the run's own picture in place of the one that the checkout shows on its first page.

    Args:
        stage: Staged book with executed notebooks; the picture is that of the figure named `fig-overview`.

    Returns:
        Whether there was one; if not, the page keeps the picture it has.
    """
    for path in sorted((stage / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") != OVERVIEW:
                continue
            for output in cell.get("outputs", []):
                if picture := output.get("data", {}).get("image/png"):
                    (stage / "book" / "_static" / "overview.png").write_bytes(base64.b64decode(picture))
                    return True
    return False


def _write_provenance(config, chosen, steps, stage):
    """The page, and the foot of all the others."""
    folder, now = run_folder(config.run), datetime.datetime.now(datetime.UTC)
    write_text(stage / "book" / "provenance.md", provenance_page(config, chosen, steps, folder, now))
    settings = yaml.safe_load((stage / "_config.yml").read_text())
    pages = settings.setdefault("html", {})
    pages["extra_footer"] = f"<p>{pages.get('extra_footer', '')}</p>{foot(config, folder, now)}"
    write_text(stage / "_config.yml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _print_book(stage: Path) -> Path:
    program = "from jupyter_book.cli.main import main; main()"
    shutil.rmtree(stage / "_build", ignore_errors=True)  # a page kept from before would keep its warnings to itself
    command = [
        sys.executable,
        "-c",
        program,
        "build",
        str(stage),
        "-W",
        "-n",
        "--keep-going",
        "--path-output",
        str(stage),
    ]
    log = stage / "book.log"
    with log.open("w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=stage).returncode
    index = stage / "_build" / "html" / "index.html"
    if code or not index.is_file():
        lines = [line for line in log.read_text().splitlines() if "WARNING" in line or "ERROR" in line]
        raise RuntimeError(f"{log}: the book was not built cleanly\n" + "\n".join(lines[:20]))
    (stage / "_build" / "html").rename(stage / "html")
    shutil.rmtree(stage / "_build")
    return stage / "html" / "index.html"


def _read_value(name: str, value):
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        message = f"parameter {name!r} must be plain YAML, such as 70 or [1, 2], got {value!r}"
        raise ValueError(f"{message}; {reason}") from None
