"""The command `exprbench`: parses arguments and calls one public function per verb."""

import sys
from collections.abc import Sequence

import exprbench
from exprbench.commands import benchmarks, filing, lists, model_files, pair, reports, score, studies, tables
from exprbench.core.cli_base import Parser, run

EXAMPLES = """\
  exprbench demo                                                   run everything on drawn faces, without downloads
  exprbench pair generated.mp4 driving.mp4                         score one video, without a benchmark
  exprbench build --portraits p/ --driving d/ --out bench          build a benchmark folder
  exprbench cases bench --format json                              list the videos that a method generates
  exprbench score --benchmark bench --predictions out/ --method m  score a method's videos
  exprbench table m.json other.json                                print the layout of the paper's Table 1
  exprbench compare m.json other.json                              print paired differences, with intervals and a test
  exprbench report m.json other.json --out report                  write a page with tables and videos
  exprbench study build bench --predictions m=out/ --out study     build the questionnaire of a user study
  exprbench collect m.json --out inputs                            fetch the sources of a shared benchmark
  exprbench metrics                                                list every column
  exprbench weights list                                           list model files and where they are
  exprbench doctor                                                 check the installation"""

VERBS = (
    pair.add,
    benchmarks.add_build,
    benchmarks.add_check,
    benchmarks.add_cases,
    benchmarks.add_manifest,
    benchmarks.add_collect,
    score.add,
    tables.add,
    tables.add_compare,
    tables.add_variants,
    reports.add,
    filing.add_submit,
    filing.add_verify,
    filing.add_export,
    studies.add,
    lists.add_metrics,
    model_files.add,
    lists.add_doctor,
    lists.add_completion,
    benchmarks.add_demo,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `exprbench --help`."""
    parser = Parser(prog="exprbench", description="Score portrait animation on ExprBench.", examples=EXAMPLES)
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in VERBS:
        add(verbs)
    return run(parser, argv)


if __name__ == "__main__":
    sys.exit(main())
