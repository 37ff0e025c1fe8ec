"""Values put into a tree of parameters, by dotted name or from plain nested ones; what does not fit is named."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any


def replaced(tree, name: str, value):
    """A tree of dataclasses with one value in place of its own.

    Args:
        tree: The frozen tree.
        name: Dotted, such as `training.seed`.
        value: Of the type that is there; whole numbers where fractions are, lists where tuples are.

    Raises:
        ValueError: If the name is unknown (the nearest one is told), names a group, or the value has another type.
    """
    return _replaced(tree, name, name.split("."), value)


def rebuilt(tree, values: dict[str, Any], prefix: str = ""):
    """A tree with the values that plain nested ones hold; what they lack stays.

    Args:
        tree: The frozen tree.
        values: As `dataclasses.asdict` gives them, lists in place of tuples.
        prefix: Dotted name of the tree itself and a dot, for errors.

    Raises:
        ValueError: If a name is unknown or a value has another type.
    """
    names = [f.name for f in dataclasses.fields(tree)]
    if unknown := sorted(set(values) - set(names)):
        raise ValueError(f"written by another version: {', '.join(prefix + n for n in unknown)} unknown here")
    parts = {}
    for name, value in values.items():
        known, full = getattr(tree, name), f"{prefix}{name}"
        parts[name] = (
            rebuilt(known, value, f"{full}.") if dataclasses.is_dataclass(known) else _cast(full, known, value)
        )
    return dataclasses.replace(tree, **parts)


def _replaced(node, full: str, parts: list[str], value):
    names = [f.name for f in dataclasses.fields(node)]
    head, *rest = parts
    if head not in names:
        near = difflib.get_close_matches(head, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown parameter {full!r}: {hint}known here: {', '.join(names)}")
    current = getattr(node, head)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise ValueError(f"parameter {full!r}: {head!r} is a value and has no {rest[0]!r}")
        return dataclasses.replace(node, **{head: _replaced(current, full, rest, value)})
    if dataclasses.is_dataclass(current):
        known = ", ".join(f"{full}.{f.name}" for f in dataclasses.fields(current))
        raise ValueError(f"parameter {full!r} is a group; name one of {known}")
    return dataclasses.replace(node, **{head: _cast(full, current, value)})


def _cast(name: str, current, value):
    if isinstance(current, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(v, int) for v in value):
            raise ValueError(f"parameter {name!r} must be a list of whole numbers, got {value!r}")
        return tuple(value)
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(current):
        raise ValueError(f"parameter {name!r} must be {type(current).__name__}, got {value!r}")
    return value
