"""The page that lists every module; `make api` writes it and a test compares it."""

from __future__ import annotations

from pathlib import Path

import spineseg

GROUND = ("config", "profiles", "limits", "paths", "errors")
FLOORS = {
    "anatomy": "What a spine is. Knows no file and no network.",
    "data": "Files to arrays and back.",
    "evaluation": "Label maps to numbers. Knows no network.",
    "learning": "Tensors to weights to label maps.",
    "report": "Where people look.",
}


def api_page() -> str:
    """Markdown with one `automodule` per module, from the ground up."""
    root = Path(spineseg.__file__).parent
    lines = [
        "# API",
        "",
        "Every module of the package, from the ground up: a floor imports from those before it and from nothing after.",
        "",
        "## Ground",
        "",
        *_entries([f"spineseg.{name}" for name in GROUND]),
    ]
    for floor, purpose in FLOORS.items():
        files = sorted(path.relative_to(root.parent) for path in (root / floor).rglob("*.py"))
        names = [".".join(path.with_suffix("").parts) for path in files]
        packages = {f"spineseg.{floor}.__init__"}  # one line of its floor's purpose, said above already
        lines += [f"## {floor.capitalize()}", "", purpose, ""]
        lines += _entries([name.removesuffix(".__init__") for name in names if name not in packages])
    return "\n".join(lines).rstrip() + "\n"


def _entries(modules):
    for name in modules:
        yield from (f"### `{name}`", "", "```{eval-rst}", f".. automodule:: {name}", "   :members:", "```", "")


if __name__ == "__main__":
    print(api_page(), end="")
