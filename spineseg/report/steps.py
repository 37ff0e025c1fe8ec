"""Which steps of a report are done already: a record for each, written last, that names all it was made from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path

from spineseg import paths
from spineseg.config import Config
from spineseg.data.atomic import write_text
from spineseg.data.digest import hash_files
from spineseg.learning.provenance import PACKAGES

NETWORKS = "*-best.json"  # of a run: each has the sha256 of its weights


@dataclass
class Steps:
    """The notebooks of one report, in order.

    A step is done if its record names what it would be made from now, the notebook that it left is the one it wrote,
    and the networks of the run are those that it saw or did not look at. After a step that is not done, none is.

    Args:
        config: Names the run and its data.
        source: The checkout.
        stage: Folder of the report.
    """

    config: Config
    source: Path
    stage: Path

    def __post_init__(self):
        self._previous, self._stale = self._world(), False

    def begin(self, notebook: Path, parameters: dict) -> dict | None:
        """Record of a step that is done; None if it has to be run, and then its old record is gone.

        Args:
            notebook: As in the checkout.
            parameters: What it receives.
        """
        self._previous = _hash(
            self._previous, notebook.read_bytes(), json.dumps(parameters, sort_keys=True, default=str)
        )
        record = self._record(notebook)
        known = json.loads(record.read_text()) if record.is_file() and not self._stale else {}
        written = self.stage / "notebooks" / notebook.name
        done = known.get("key") == self._previous and written.is_file() and known["written"] == hash_files([written])
        if done and known["networks_before"] + known["networks_after"] != "":
            done = known["networks_after"] == self.networks()
        if done:
            return known["step"]
        self._stale = True
        record.unlink(missing_ok=True)
        self._before = self.networks()
        return None

    def finish(self, notebook: Path, step: dict) -> None:
        """Record that a step was run."""
        written = hash_files([self.stage / "notebooks" / notebook.name])
        known = {"key": self._previous, "written": written, "step": step}
        known |= {"networks_before": self._before, "networks_after": self.networks()}
        write_text(self._record(notebook), json.dumps(known, indent=1))

    def networks(self) -> str:
        """Hash of the run's networks; empty if it has none."""
        found = sorted((paths.run_folder(self.config.run) / "checkpoints").glob(NETWORKS))
        return _hash(*(f"{p.name} {json.loads(p.read_text())['sha256']}" for p in found)) if found else ""

    def prose(self) -> str:
        """Hash of what the book is printed from besides the notebooks."""
        files = [p for p in sorted((self.source / "book").rglob("*")) if p.is_file() and "views" not in p.parts]
        return hash_files([*files, self.source / "_config.yml", self.source / "_toc.yml"])

    def _record(self, notebook: Path) -> Path:
        return self.stage / "steps" / f"{notebook.stem}.json"

    def _world(self) -> str:
        """Hash of code, libraries, measurements that come with the code, and data not made from the configuration."""
        folders = (self.source / "spineseg", self.source / "benchmarks", self.source / "data" / "weights")
        code = [p for f in folders for p in sorted(f.rglob("*")) if p.suffix in (".py", ".json", ".csv", ".css", ".js")]
        versions = [platform.python_version(), *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
        cohort, real = self.config.cohort, paths.real_ct_folder()
        raw = [] if cohort.layout == "phantom" else [paths.raw_folder(cohort.folder)]
        data = [
            f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}"
            for f in (*raw, real)
            for p in sorted(f.rglob("*"))
            if p.is_file()
        ]
        return _hash(hash_files(code), json.dumps(self.config.to_dict(), sort_keys=True), *versions, *data)


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return digest.hexdigest()
