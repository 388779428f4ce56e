"""The verbs that print records: `table`, `compare` and `variants`."""

import argparse
from pathlib import Path

import exprbench
from exprbench.commands.options import add_verb


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `table`."""
    parser = add_verb(
        verbs,
        "table",
        "Print score records in the layout of the paper's Table 1, with marks of what cannot be compared.",
        "  exprbench table a.json b.json\n  exprbench table *.json --format latex > table.tex\n"
        "  exprbench table *.json --format html --extras > table.html\n"
        "  exprbench table mine.json shard.json --common\n"
        "  exprbench table mine.json --with paper\n"
        "\n"
        "marks, explained below each table and in docs/record.md:\n"
        "  never the best: \u2020 faces not detected, \u2021 frames or videos missing, \u00b6 shard,\n"
        "                  \u2016 other aspect ratio, \u25c7 extra faces, \u00a7 --mix, \u25cb reported\n"
        "  \u2248 tied with the best: the 95 % interval of the paired difference contains 0",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="score record")
    parser.add_argument(
        "--format", choices=("md", "latex", "csv", "json", "html"), default="md", help="output format (default: md)"
    )
    parser.add_argument(
        "--extras", action="store_true", help="all further columns of the records, and a table of 3 and more people"
    )
    parser.add_argument(
        "--mix", action="store_true", help="records of different protocols, weights or versions in one table, marked"
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="means over the cases that all records have; FID and FVD only of records without other cases",
    )
    parser.add_argument(
        "--with",
        dest="reported",
        choices=("paper", "ablation"),
        help="numbers of the paper's Table 1 or 3, marked as reported under an unknown protocol (default: none)",
    )
    parser.add_argument("--intervals", action="store_true", help="95 %% intervals, in md and latex")
    parser.add_argument(
        "--rank", action="store_true", help="Borda score, the mean share of methods beaten, and rank, in md and latex"
    )
    parser.set_defaults(handler=_run_table)


def _run_table(args: argparse.Namespace) -> None:
    names = ("mix", "extras", "common", "reported", "intervals", "rank")
    options = {name: getattr(args, name) for name in names}
    print(exprbench.table(args.records, format=args.format, **options), end="")


def add_compare(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `compare`."""
    parser = add_verb(
        verbs,
        "compare",
        "Print the differences between two methods, paired by video, with intervals and a corrected test.",
        "  exprbench compare mine.json other.json\n  exprbench compare mine.json other.json --format csv",
    )
    parser.add_argument("records", nargs=2, type=Path, metavar="RECORD", help="score record")
    parser.add_argument("--format", choices=("md", "csv", "json"), default="md", help="output format (default: md)")
    parser.add_argument("--mix", action="store_true", help="records of different protocols, weights or versions")
    parser.set_defaults(handler=_run_compare)


def _run_compare(args: argparse.Namespace) -> None:
    from exprbench.leaderboard.pairwise import comparison_text

    a, b = (exprbench.load_record(path) for path in args.records)
    differences = exprbench.compare(*args.records, mix=args.mix)
    print(comparison_text(differences, (a.method, b.method), args.format), end="")


def add_variants(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `variants`."""
    parser = add_verb(
        verbs,
        "variants",
        "Print AED, APD and MAE under every formula, and whether the order of methods changes.",
        "  exprbench variants mine.json other.json third.json",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="score record")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="output format (default: md)")
    parser.add_argument("--mix", action="store_true", help="records of different protocols, weights or versions")
    parser.set_defaults(handler=_run_variants)


def _run_variants(args: argparse.Namespace) -> None:
    from exprbench.leaderboard.variants import variants_text

    print(variants_text(exprbench.variants(args.records, mix=args.mix), args.format), end="")
