"""Options of the command line that are no field of the configuration, or short for one."""

from __future__ import annotations

SHORT = {"--epochs": "--training.epochs", "--scheduler": "--cluster.scheduler", "--workers": "--cluster.workers"}


def full_name(word: str) -> str:
    """A word of the command line, a short option spelled out."""
    option, equals, value = word.partition("=")
    return SHORT.get(option, option) + equals + value


def take(words: list[str], option: str, count: int) -> tuple[list[list[str]], list[str]]:
    """Values of each occurrence of an option, and the words without them.

    Args:
        words: Of the command line.
        option: Such as `--run`; `--run=x` counts too.
        count: Values that it takes.

    Raises:
        ValueError: If values are missing.
    """
    taken, rest, i = [], [], 0
    while i < len(words):
        if words[i] == option:
            values = words[i + 1 : i + 1 + count]
            if len(values) < count:
                raise ValueError(f"{option} needs {count} value{'s' * (count > 1)}, got {len(values)}")
            taken.append(values)
            i += 1 + count
        elif words[i].startswith(f"{option}=") and count == 1:
            taken.append([words[i].partition("=")[2]])
            i += 1
        else:
            rest.append(words[i])
            i += 1
    return taken, rest
