"""Running one notebook with papermill, in this very environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from spineseg.data.atomic import write_text
from spineseg.report.view import OPEN_NOTEBOOK

KERNEL = "python3"


def execute(source: Path, target: Path, parameters: dict) -> dict:
    """Run one notebook.

    Args:
        source: As in the checkout.
        target: The executed one.
        parameters: What it receives.

    Returns:
        `notebook`, `sha256` of the source, `seconds`.

    Raises:
        RuntimeError: If a cell fails or does not run, or the kernel dies.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config as JupyterConfig

    print(f"{source.name} ...", flush=True)
    os.environ.pop(OPEN_NOTEBOOK, None)  # the report may be started from an open notebook, its chapters are not open
    started = time.perf_counter()
    private = JupyterConfig(
        {"KernelManager": {"transport_encryption": "auto"}}
    )  # else each kernel warns that it is not
    try:
        # the notebook sees ../book, the staged one, and writes its views there
        papermill.execute_notebook(
            source,
            target,
            parameters,
            kernel_name=KERNEL,
            language="python",
            progress_bar=False,
            cwd=target.parent,
            config=private,
        )
    except PapermillExecutionError as error:
        raise RuntimeError(f"{target}: cell {error.exec_count} failed with {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        remedy = "most often for want of memory; the steps before it are kept, say the same again"
        raise RuntimeError(f"{target}: the kernel died, {remedy}") from error
    # a kernel that dies late can leave a notebook that says it is complete
    cells = nbformat.read(target, as_version=4).cells
    silent = [c for c in cells if c.cell_type == "code" and c.source.strip() and c.execution_count is None]
    if silent:
        raise RuntimeError(f"{target}: {len(silent)} cells did not run, first: {silent[0].source.splitlines()[0]}")
    strip_widgets(target)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return {"notebook": source.name, "sha256": digest, "seconds": round(time.perf_counter() - started, 1)}


def check_kernel(name: str = KERNEL) -> None:
    """Make sure that notebooks run in this very environment.

    Raises:
        RuntimeError: If the kernel is missing or starts another environment's interpreter.
    """
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import KernelManager

    remedy = f"unset JUPYTER_PATH, or run `{sys.executable} -m ipykernel install --sys-prefix --name {name}`"
    try:
        interpreter = KernelManager(kernel_name=name).format_kernel_cmd()[0]
    except NoSuchKernel:
        raise RuntimeError(f"Jupyter knows no kernel {name!r}; {remedy}") from None
    command = [interpreter, "-c", "import sys; print(sys.prefix)"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        prefix = answer.stdout.strip()
    except OSError as error:
        prefix = f"nothing ({error})"
    if os.path.realpath(prefix) != os.path.realpath(sys.prefix):
        raise RuntimeError(f"kernel {name!r} runs in {prefix}; expected {sys.prefix}; {remedy}")


def strip_widgets(notebook: Path) -> None:
    """Remove saved widget state: it makes a page load scripts from elsewhere and shows nothing offline."""
    content = json.loads(notebook.read_text())
    if content["metadata"].pop("widgets", None) is not None:
        write_text(notebook, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
