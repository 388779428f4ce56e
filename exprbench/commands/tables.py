"""The verbs that print records: `table`."""

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
        "\n"
        "marks, explained below each table and in docs/record.md:\n"
        "  never the best: \u2020 faces not detected, \u2021 frames or videos missing, \u00b6 shard,\n"
        "                  \u2016 other aspect ratio, \u25c7 extra faces, \u00a7 --mix\n"
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
    parser.set_defaults(handler=_run_table)


def _run_table(args: argparse.Namespace) -> None:
    options = {"mix": args.mix, "extras": args.extras, "common": args.common}
    print(exprbench.table(args.records, format=args.format, **options), end="")
