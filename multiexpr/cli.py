"""The command `multiexpr`: parses arguments and calls one public function per verb."""

import sys
from collections.abc import Sequence

import exprbench
from exprbench.core.cli_base import Parser, run
from multiexpr.commands import curate, datasets, measuring, overview, selecting

EXAMPLES = """\
  multiexpr curate videos/ --out out/                         build a dataset and a report from a folder of videos
  multiexpr curate OpenVid-1M/ --out out/ --limit 100         curate the next 100 videos of a large collection
  multiexpr select out/ --set keep.motion.min_expression=2    try other thresholds in seconds, without measuring again
  multiexpr select out/ --target 30000                        propose thresholds that keep 30000 clips
  multiexpr why out/ 3f2a                                     explain the verdict on a clip
  multiexpr recipe > my.toml                                  write the default recipe, with every value explained"""

VERBS = (
    curate.add,
    measuring.add_index,
    measuring.add_score,
    selecting.add_select,
    datasets.add_caption,
    datasets.add_export,
    overview.add_report,
    selecting.add_why,
    overview.add_status,
    selecting.add_recipe_verb,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `multiexpr --help`."""
    description = "Curate video collections into datasets of clips with expressive faces."
    parser = Parser(prog="multiexpr", description=description, examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in VERBS:
        add(verbs)
    parser.set_defaults(argv=list(sys.argv[1:] if argv is None else argv))
    return run(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
