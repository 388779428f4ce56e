"""The verb `weights`: list, download and verify model files."""

import argparse

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `weights`."""
    parser = add_verb(
        verbs,
        "weights",
        "List, download and verify model files.",
        "  exprbench weights list\n  exprbench weights fetch inception i3d\n  exprbench weights verify",
    )
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser, required=True)
    summary = "List model files, where they are, and how to get missing ones."
    add_verb(actions, "list", summary, "  exprbench weights list").set_defaults(handler=_run_weights_list)
    for name, summary, example, default, handler in (
        (
            "fetch",
            "Download model files and verify their hashes.",
            "inception i3d",
            "all with a URL",
            _run_weights_fetch,
        ),
        ("verify", "Compare model files with their published hashes.", "smirk l2cs", "all", _run_weights_verify),
    ):
        action = add_verb(actions, name, summary, f"  exprbench weights {name}\n  exprbench weights {name} {example}")
        action.add_argument("names", nargs="*", metavar="NAME", help=f"name of a model file (default: {default})")
        action.set_defaults(handler=handler)


def _run_weights_list(_: argparse.Namespace) -> int:
    from exprbench import weights

    for entry in weights.ALL.values():
        path, export = weights.locate(entry.name), weights.locate_export(entry.name)
        size = f"{entry.num_bytes / 1e6:.1f} MB" if entry.num_bytes else ""
        state = "present" if path else "exported" if export else "missing"
        print(f"{entry.name:16} {state:8} {size:>8}  {entry.used_by:24} {entry.licence}")
        print(f"{'':16} {path or export or weights.how_to_get(entry)}")
    return 0


def _run_weights_fetch(args: argparse.Namespace) -> int:
    from exprbench import weights

    for name in args.names or [w.name for w in weights.ALL.values() if w.url]:
        print(f"{name}: {weights.fetch(name)}")
    return 0


def _run_weights_verify(args: argparse.Namespace) -> int:
    from exprbench import weights

    states = {name: weights.state(weights.get(name)) for name in args.names or weights.ALL}
    for name, state in states.items():
        print(f"{name:16} {state}")
    return TOO_MANY_FAILED if "differs" in states.values() else 0
