"""Kill a report in each of its notebooks, the kernel or all of it, and while it prints; then see how it ends.

Run `python benchmarks/soak.py FOLDER`; about six times as long as a report of the smoke profile. After each kill the
report is started again and must begin with the notebook that was cut short; at the end its networks and numbers must
be those of a report that was left in peace.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from spineseg import paths
from spineseg.data.atomic import write_text

COMMAND = "import sys; from spineseg.cli import main; sys.exit(main())"
WAYS = ("kernel", "report")  # what is killed, in turn
RESULTS = ("headline.json", "scores.csv", "checkpoints/*.safetensors")  # of a run, to be equal at the end


class Report:
    """A `spineseg report` in a process group of its own.

    Args:
        run: Its name.
        log: What it says.
    """

    def __init__(self, run: str, log: Path):
        self.log = log
        words = ["report", "--profile", "smoke", "--run", run]
        with log.open("w") as out:
            self.process = psutil.Popen(
                [sys.executable, "-c", COMMAND, *words], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def begun(self) -> list[str]:
        """Notebooks that it has begun to run."""
        return re.findall(r"^(\d\d_\w+)\.ipynb \.\.\.", self.log.read_text(), re.MULTILINE)

    def kernel(self) -> psutil.Process | None:
        """The process that runs the present notebook's cells."""
        for child in self._children():
            if "ipykernel_launcher" in " ".join(child.cmdline()):
                return child
        return None

    def prints(self) -> bool:
        """Whether Jupyter Book is at work."""
        return any("jupyter_book" in " ".join(child.cmdline()) for child in self._children())

    def wait_for(self, condition) -> bool:
        """Until a condition holds; false if the report ended before."""
        while self.process.poll() is None:
            try:
                if condition():
                    return True
            except psutil.NoSuchProcess:
                pass  # it ended while it was looked at
            time.sleep(0.05)
        return False

    def kill(self, what: str) -> None:
        """End the kernel alone, or the report and all that it started."""
        kernel = self.kernel()
        if what == "kernel" and kernel:
            kernel.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
            if kernel:
                kernel.kill()  # a session of its own
        self.process.wait()

    def _children(self):
        return self.process.children(recursive=True)


def soak(folder: Path, draw: random.Random, longest: float) -> list[dict]:
    """Kill the report `killed` once in each notebook and once in print; one row per kill."""
    rows = []
    names = sorted(p.stem for p in Path("notebooks").glob("[0-9][0-9]_*.ipynb"))
    for number, name in enumerate([*names, "print"]):
        report, what = Report("killed", folder / f"{number}.log"), WAYS[number % len(WAYS)]
        if name == "print":
            reached, what = report.wait_for(report.prints), "report"
        else:
            reached = report.wait_for(lambda report=report, name=name: name in report.begun() and report.kernel())
        time.sleep(draw.uniform(0, longest))
        in_time = reached and report.process.poll() is None
        report.kill(what)
        steps = list((paths.build_folder("killed") / "steps").glob("*.json"))
        manifest = (paths.build_folder("killed") / "manifest.json").is_file()
        rows.append(
            {"in": name, "killed": what, "in_time": bool(in_time), "began_with": (report.begun() or ["print"])[0],
             "steps_kept": len(steps), "manifest": manifest}
        )  # fmt: skip
        print(rows[-1], flush=True)
    last = Report("killed", folder / "last.log")
    status = last.process.wait()
    manifest = (paths.build_folder("killed") / "manifest.json").is_file()
    rows.append({"in": "", "began_with": (last.begun() or ["print"])[0], "status": status, "manifest": manifest})
    print(rows[-1], flush=True)
    return rows


def same_results() -> dict[str, bool]:
    """Whether the files of the two runs are equal, byte for byte."""
    calm, killed = paths.run_folder("calm"), paths.run_folder("killed")
    names = [str(p.relative_to(calm)) for pattern in RESULTS for p in sorted(calm.glob(pattern))]
    return {n: (killed / n).is_file() and (calm / n).read_bytes() == (killed / n).read_bytes() for n in names}


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="home of the two runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds after a step was seen to have begun")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "soak.json")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ["SPINESEG_HOME"] = str(options.folder.resolve())
    began = time.monotonic()
    if Report("calm", options.folder / "calm.log").process.wait() != 0:
        raise SystemExit(f"the undisturbed report failed, see {options.folder / 'calm.log'}")
    undisturbed = time.monotonic() - began
    rows = soak(options.folder, random.Random(options.seed), options.longest)
    same = same_results()
    kills = rows[:-1]
    resumed = [row["began_with"] for row in rows[1:]] == [row["in"] for row in kills]
    answer = {
        "kills": len(kills), "resumed_where_cut": resumed, "equal": same, "rows": rows,
        "seconds_undisturbed": round(undisturbed, 1), "seconds": round(time.monotonic() - began - undisturbed, 1),
    }  # fmt: skip
    write_text(options.out, json.dumps(answer, indent=1) + "\n")
    good = all(same.values()) and resumed and rows[-1]["status"] == 0 and not any(row["manifest"] for row in kills)
    print("all as it should be" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
