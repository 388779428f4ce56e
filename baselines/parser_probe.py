"""Run a method's script up to the point where it has parsed its arguments; needs nothing but the standard library.

`python parser_probe.py RESULT.json SCRIPT.py ARGUMENT ...`, or `... RESULT.json -m MODULE ARGUMENT ...`, in the
environment of the method. RESULT.json is written if the script's own `argparse` parser accepts the arguments, or only
some of them. Everything that the script imports before is imported, and nothing after is run.
"""

import argparse
import json
import os
import runpy
import sys

_parse = argparse.ArgumentParser.parse_known_args


def main() -> None:
    """Run the script with a parser that ends the process after the arguments are parsed."""
    result, words = sys.argv[1], sys.argv[2:]
    argparse.ArgumentParser.parse_known_args = _stopping(result)  # type: ignore[method-assign]
    if words[0] == "-m":
        sys.argv, sys.path[0] = words[1:], os.getcwd()
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, os.path.dirname(os.path.realpath(words[0]))
        runpy.run_path(words[0], run_name="__main__")


def _stopping(result: str) -> object:
    def parse(self: argparse.ArgumentParser, args: object = None, namespace: object = None) -> object:
        words = sys.argv[1:] if args is None else list(args)  # type: ignore[call-overload]
        parsed, unknown = _parse(self, words, namespace)
        if not _are_ours(words):  # of a library that parses something else
            return parsed, unknown
        with open(result, "w", encoding="utf-8") as file:
            json.dump({"unknown": unknown}, file)
        sys.stdout.flush()
        os._exit(0)

    return parse


def _are_ours(words: list) -> bool:
    """Return whether these are the arguments of the process; tyro exchanges dashes and underscores."""
    return [str(w).replace("-", "_") for w in words] == [w.replace("-", "_") for w in sys.argv[1:]]


if __name__ == "__main__":
    main()
