"""A run made again from its own record, and whether the numbers agree."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass

import pandas as pd

from spineseg import paths
from spineseg.config import Config
from spineseg.data.atomic import atomic_folder, write_text
from spineseg.errors import CaseError
from spineseg.learning.provenance import weights_of
from spineseg.learning.runs import load_config
from spineseg.learning.training import METHODS, train
from spineseg.report.results import method_scores

TOLERANCE = 0.005  # of the mean Dice, where the bits differ: another machine, other libraries
LIKE = (
    "commit",
    "dirty",
    "lock_hash",
    "python",
    "versions",
    "device",
    "threads",
    "processes",
)  # what may explain a difference
SOURCE = "reproduces.json"  # in the folder of the new run


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        networks: One row per network: `network, before, again` (sha256 of the best weights), `equal`, and the seconds
            that training took, `seconds_before, seconds_again`.
        scores: One row per method whose networks differ: `method, before, again` (mean Dice of the test cases); empty
            where all are equal.
        circumstances: `name: before -> now` of what the run was made with then and now, where that differs.
    """

    networks: pd.DataFrame
    scores: pd.DataFrame
    circumstances: list[str]

    @property
    def agrees(self) -> bool:
        """Whether all weights are equal, or else every mean Dice is within the tolerance."""
        return bool(((self.scores.before - self.scores.again).abs() <= TOLERANCE).all())

    def __str__(self) -> str:
        lines = [
            f"{row.network}: {'equal to the bit' if row.equal else 'other weights'}" for row in _rows(self.networks)
        ]
        lines += [f"{row.method}: mean Dice {row.before:.4f}, again {row.again:.4f}" for row in _rows(self.scores)]
        lines += [f"other than then: {line}" for line in self.circumstances]
        return "\n".join([*lines, "the numbers agree" if self.agrees else f"the numbers do NOT agree (to {TOLERANCE})"])


def reproduce(run: str, name: str = "") -> Comparison:
    """Train a run once more from its configuration, its cases and the totals of epochs that it was asked for.

    Said again after an interruption, it goes on.

    Args:
        run: A trained run.
        name: Of the new run; `<run>-again` when empty.

    Returns:
        The comparison. Weights of one CPU with as many threads and the same libraries are equal; where they are not,
        the test cases are predicted and scored with both runs.

    Raises:
        CaseError: If the run has no trained network, one without the rest of its method, or began as a fork, or if the
            new folder is another run's.
        ValueError: If the cases are not those of the run any more, or the name is no plain one.
    """
    old, before = load_config(run), weights_of(run)
    folder = paths.run_folder(run)
    if not before:
        raise CaseError("run-missing", folder, "no trained network", "a trained run", f"spineseg train --run {run}")
    if (folder / "fork.json").is_file():
        source = json.loads((folder / "fork.json").read_text())["source"]
        found, remedy = f"a run that began with the networks of {source!r}", f"reproduce {source!r}, then fork it"
        raise CaseError("run-forked", folder, found, "a run trained from its own start", remedy)
    whole = {network for networks in METHODS.values() if all(n in before for n in networks) for network in networks}
    if half := sorted(set(before) - whole):
        found, remedy = f"{', '.join(half)} without the rest of its method", f"finish it: spineseg train --run {run}"
        raise CaseError("run-unfinished", folder, found, "methods with all their networks", remedy)
    if name and paths.run_folder(name).parent != folder.parent:
        raise ValueError(f"name must be a plain folder name, got {name!r}")
    new = dataclasses.replace(old, run=name or f"{run}-again")
    _begin(new, run)
    for method, networks in METHODS.items():
        if all(network in before for network in networks):
            for epochs in _totals(before, networks, old.training.epochs):
                step = dataclasses.replace(new.training, epochs=epochs)
                train(dataclasses.replace(new, training=step), method)
    again = weights_of(new.run)
    rows = [
        (n, before[n]["sha256"], again[n]["sha256"], before[n]["sha256"] == again[n]["sha256"], before[n]["seconds"],
         again[n]["seconds"]) for n in again
    ]  # fmt: skip
    columns = ["network", "before", "again", "equal", "seconds_before", "seconds_again"]
    table = pd.DataFrame(rows, columns=columns)
    return Comparison(table, _scored(old, new, table), [*_circumstances(old, new), *_unlike(old, before, again)])


def _begin(new: Config, run: str) -> None:
    """Make the new run's folder with the old one's split, which training then holds the cases against."""
    folder = paths.run_folder(new.run)
    if folder.is_dir():
        marked = folder / SOURCE
        if not marked.is_file() or json.loads(marked.read_text())["run"] != run:
            raise CaseError("run-exists", folder, "a folder of this name", "a new run", "choose another --name")
        return
    with atomic_folder(folder) as temporary:
        shutil.copyfile(paths.run_folder(run) / "splits.csv", temporary / "splits.csv")
        write_text(temporary / "config.json", json.dumps(new.to_dict(), indent=1))
        write_text(temporary / SOURCE, json.dumps({"run": run}))


def _totals(states: dict[str, dict], networks, asked: int) -> list[int]:
    """Totals of epochs that were asked for, one after another; the last one where an older version noted nothing."""
    legs = max((states[network]["legs"] for network in networks), key=len)
    return [leg["epochs"] for leg in legs] or [asked]


def _unlike(old: Config, before: dict, again: dict) -> list[str]:
    """What the second training could not do as the first one did."""
    lines = []
    for name, state in before.items():
        if (was := state["precision"]) != (now := again[name]["precision"]):
            lines.append(f"precision of {name}: {was} -> {now}")
        reached, steps = 0, getattr(old, name).steps_per_epoch
        for leg in state["legs"] or [{"from_step": -1, "epochs": 0}]:
            if leg["from_step"] != reached * steps:
                lines.append(f"{name} was given other epochs in the middle of a training, or by an older version")
                break
            reached = leg["epochs"]
    return lines


def _scored(old: Config, new: Config, networks: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for method, names in METHODS.items():
        chosen = networks[networks.network.isin(names)]
        if len(chosen) == len(names) and not chosen.equal.all():
            rows.append((method, *(method_scores(config, method).dice.mean() for config in (old, new))))
    return pd.DataFrame(rows, columns=["method", "before", "again"])


def _circumstances(old: Config, new: Config) -> list[str]:
    then, now = (json.loads((paths.run_folder(c.run) / "provenance.json").read_text()) for c in (old, new))
    return [f"{name}: {then.get(name)} -> {now[name]}" for name in LIKE if then.get(name) != now[name]]


def _rows(table: pd.DataFrame):
    return table.itertuples(index=False)
