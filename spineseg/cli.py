"""The command line: thin, every option comes from the configuration or a function's own signature."""

from __future__ import annotations

import sys

import tyro

from spineseg.commands import networks, results, scans
from spineseg.config import Config
from spineseg.errors import CASE_ERROR, MEMORY_ERROR, SIGNALLED, USER_ERROR, CaseError, Interrupted, OutOfMemory
from spineseg.options import full_name, take

COMMANDS = {
    "phantom": scans.phantom,
    "fetch": scans.fetch,
    "audit": scans.audit,
    "prepare": scans.prepare,
    "who": scans.who,
    "train": networks.train,
    "predict": networks.predict,
    "reproduce": networks.reproduce,
    "measure": results.measure,
    "health": results.health,
    "pack": networks.pack,
    "score": results.score,
    "report": results.report,
}
CONFIGURED = ("prepare", "train", "report")  # take every field of the configuration as an option


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the `spineseg` command; a mistake of the user's is one line and an exit status that is not 0."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] not in COMMANDS:
        print("usage: spineseg COMMAND [options]; spineseg COMMAND --help says more\n")
        for name, function in COMMANDS.items():
            print(f"  {name:10} {function.__doc__.splitlines()[0]}")
        return 0 if words[:1] in (["-h"], ["--help"]) else USER_ERROR
    name, rest = words[0], words[1:]
    try:
        if name not in CONFIGURED:
            return tyro.cli(COMMANDS[name], args=rest, prog=f"spineseg {name}")
        return COMMANDS[name](*_configured(name, rest))
    except (CaseError, ValueError, OSError, RuntimeError, FloatingPointError, Interrupted, OutOfMemory) as error:
        from spineseg.data.pseudonyms import reveal

        print(f"spineseg {name}: {reveal(str(error))}", file=sys.stderr)
        return _status(error)


def _status(error: Exception) -> int:
    if isinstance(error, Interrupted):
        return SIGNALLED + error.signum
    if isinstance(error, OutOfMemory):
        return MEMORY_ERROR
    return CASE_ERROR if isinstance(error, CaseError) else USER_ERROR


def _configured(name: str, words: list[str]):
    """Parse every field of the configuration, with the chosen profile's values as defaults."""
    words = [full_name(word) for word in words]
    extra = {"train": ("--method", "both"), "report": ("-p", [])}.get(name)
    own, rest = take(words, extra[0], 2 if name == "report" else 1) if extra else ([], words)
    dry, rest = take(rest, "--dry-run", 0) if name == "train" else ([], rest)
    fork, rest = take(rest, "--fork", 1) if name == "train" else ([], rest)
    profile, _ = take(rest, "--profile", 1)
    run, _ = take(rest, "--run", 1)
    default = Config.load(profile[-1][0] if profile else "smoke", run[-1][0] if run else "")
    about = COMMANDS[name].__doc__ + {
        "prepare": "\n\nAlso: --workers N, --scheduler ADDRESS for the same of --cluster.",
        "train": "\n\nAlso: --epochs N for --training.epochs N, --method baseline, cascade or both,"
        "\n--dry-run to say what a step costs (parameters, arithmetic, memory) and train nothing,"
        "\n--fork RUN to begin a new run with the networks of another.",
        "report": "\n\nAlso: -p NAME VALUE gives a parameter to the notebooks; may be repeated.",
    }.get(name, "")
    config = tyro.cli(Config, args=rest, default=default, prog=f"spineseg {name}", description=about).checked()
    if name == "train":
        return config, own[-1][0] if own else "both", bool(dry), fork[-1][0] if fork else ""
    return (config, [tuple(pair) for pair in own]) if name == "report" else (config,)


if __name__ == "__main__":
    sys.exit(main())
