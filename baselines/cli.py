"""The command `baselines`; there are no adapters yet."""

from collections.abc import Sequence

from exprbench.core.cli_base import Parser, run
from exprbench.core.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = Parser(prog="baselines", description="Run the methods that the paper compares. No adapter exists yet.")
    parser.set_defaults(handler=_raise_no_adapter)
    return run(parser, argv)


def _raise_no_adapter(_: object) -> int:
    raise UserError(
        "no baseline has an adapter yet; run the method yourself, write its videos to DIR/{case_id}.mp4 "
        "and score them with: exprbench score --predictions DIR"
    )
