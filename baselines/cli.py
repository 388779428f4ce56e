"""The command `baselines`, which has no adapter to list yet."""

from collections.abc import Sequence

from exprbench.core.cli_base import Parser, run
from exprbench.core.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = Parser(prog="baselines", description="Run the methods that the paper compares. No adapter is written yet.")
    parser.set_defaults(handler=_nothing_yet)
    return run(parser, argv)


def _nothing_yet(_: object) -> int:
    raise UserError(
        "no baseline has an adapter yet; run the method yourself, put its videos at DIR/{case_id}.mp4 "
        "and give them to `exprbench score --predictions DIR`"
    )
