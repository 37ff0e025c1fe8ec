"""The page that says where a report comes from: configuration, commit, versions, machine, data."""

from __future__ import annotations

import html
import json
from pathlib import Path

from spineseg.learning.provenance import weights_of


def headline(folder: Path) -> dict:
    """Numbers that a run leads with, from its `headline.json`.

    Args:
        folder: The run's folder.

    Returns:
        `{name: number}`; empty if the run has none yet.
    """
    path = folder / "headline.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def provenance_page(config, parameters, steps, folder, built) -> str:
    """Markdown of the provenance page of one report.

    Args:
        config: Configuration of the run.
        parameters: `{notebook: {name: value}}` as handed to papermill.
        steps: One dict per notebook: `notebook`, `sha256`, `seconds`.
        folder: The run's folder; its `provenance.json` is shown if it is there.
        built: Time of the build, with zone.

    Returns:
        The page. Values are set as code, with backticks and bars replaced, so that none of them can act as markup.
    """
    recorded = folder / "provenance.json"
    facts = json.loads(recorded.read_text()) if recorded.is_file() else {}
    lines = [
        "# Provenance of this copy",
        "",
        f"This book was printed from run {_code(config.run)}, profile {_code(config.profile)}, on "
        f"{built:%Y-%m-%d %H:%M %Z}. Its numbers come from that run's files and from nowhere else.",
        "",
        "## Again",
        "",
        "```sh",
        _again(config, parameters),
        "```",
        "",
        "## Notebooks",
        "",
        "| notebook | parameters | seconds | sha256 of the source |",
        "|---|---|---|---|",
    ]
    for step in steps:
        values = ", ".join(f"{name} = {value!r}" for name, value in parameters[step["notebook"]].items())
        name, digest = _code(step["notebook"]), _code(step["sha256"][:12])
        lines.append(f"| {name} | {_code(values)} | {step['seconds']} | {digest} |")
    lines += ["", "## Run", ""]
    lines += _table(facts) if facts else ["The run left no `provenance.json`."]
    if networks := weights_of(config.run):
        lines += ["", "## Networks", "", "The best weights of each, and how long the training took.", ""]
        lines += _table(networks)
    lines += ["", "## Configuration", "", "Every value, defaults included.", ""]
    lines += _table(config.to_dict())
    return "\n".join(lines) + "\n"


def foot(config, folder: Path, built) -> str:
    """HTML for the foot of every page of a report: run, code, data and weights that its numbers come from.

    Args:
        config: Configuration of the run.
        folder: The run's folder.
        built: Time of the build, with zone.

    Returns:
        One paragraph, all values escaped.
    """
    recorded = folder / "provenance.json"
    facts = json.loads(recorded.read_text()) if recorded.is_file() else {}
    commit = facts.get("commit", "")[:10] + " with changes" * bool(facts.get("dirty"))
    words = [f"run {config.run}", f"profile {config.profile}", f"configuration {config.hash()}"]
    words += [f"code {commit}"] if facts.get("commit") else []
    words += [f"{name} {facts[f'{name}_hash']}" for name in ("data", "split", "lock") if facts.get(f"{name}_hash")]
    words += [f"{name} network {state['sha256'][:12]}" for name, state in weights_of(config.run).items()]
    words += [f"seed {config.training.seed}", f"printed {built:%Y-%m-%d %H:%M %Z}"]
    return f'<p class="provenance">{html.escape(" · ".join(words))}</p>'


def _again(config, parameters):
    extra = {name: value for values in parameters.values() for name, value in values.items()}
    options = "".join(f" -p {n} '{json.dumps(v)}'" for n, v in sorted(extra.items()) if n not in ("profile", "run"))
    return f"spineseg report --profile {config.profile} --run {config.run}{options}"


def _table(values: dict):
    return ["| name | value |", "|---|---|", *(f"| {_code(name)} | {_code(value)} |" for name, value in flat(values))]


def flat(values: dict, prefix: str = ""):
    """Pairs of dotted name and value of nested dicts, in their order."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _code(value) -> str:
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else "-"
