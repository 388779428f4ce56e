"""The verbs that file results: `submit`, `verify` and `export`."""

import argparse
import sys
from pathlib import Path

import exprbench
from exprbench.commands.options import add_verb
from exprbench.core.cli_base import TOO_MANY_FAILED


def add_submit(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `submit`."""
    parser = add_verb(
        verbs,
        "submit",
        "Check a record (schema, benchmark, weights, coverage, plausibility, means of its cases) and file it.",
        "  exprbench submit mine.json --benchmark bench\n  exprbench submit mine.json --results results --replace",
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="score record")
    parser.add_argument("--benchmark", type=Path, metavar="BENCH", help="benchmark folder (default: hash not checked)")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="folder of results (default: results)"
    )
    parser.add_argument("--replace", action="store_true", help="replace a filed record of the same method")
    parser.set_defaults(handler=_run_submit)


def _run_submit(args: argparse.Namespace) -> int:
    done = exprbench.submit(args.record, results=args.results, benchmark=args.benchmark, replace=args.replace)
    for kind, lines in (("problem", done.problems), ("note", done.warnings)):
        for line in lines:
            print(f"{kind}: {line}", file=sys.stderr)
    if done.path is None:
        print(f"{args.record} is not filed", file=sys.stderr)
        return TOO_MANY_FAILED
    print(done.path)
    return 0


def add_verify(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `verify`."""
    parser = add_verb(
        verbs,
        "verify",
        "Compare predictions with a record: the hash of each, and the scores of a sample; write a receipt.",
        "  exprbench verify mine.json --predictions out/mine --benchmark bench\n"
        "  exprbench verify mine.json --predictions out/mine --benchmark bench --sample 40 --seed 7",
    )
    parser.add_argument("record", type=Path, metavar="RECORD", help="score record")
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="folder of the method's videos")
    parser.add_argument("--benchmark", type=Path, required=True, metavar="BENCH", help="benchmark of the record")
    parser.add_argument("--sample", type=int, default=8, metavar="N", help="cases to score again (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--map", dest="names", type=Path, metavar="FILE", help="map of file names (default: case ids)")
    parser.set_defaults(handler=_run_verify)


def _run_verify(args: argparse.Namespace) -> int:
    names = ("predictions", "benchmark", "sample", "seed", "names")
    done = exprbench.verify(args.record, **{name: getattr(args, name) for name in names})
    receipt = done.receipt
    for problem in receipt.problems:
        print(f"differs: {problem}", file=sys.stderr)
    print(f"{receipt.num_predictions} predictions have the hash of the record")
    print(f"{len(receipt.sample)} cases scored again, {len(receipt.columns)} columns compared")
    print(f"{'not verified' if receipt.problems else 'verified'}: {done.path}")
    return TOO_MANY_FAILED if receipt.problems else 0


def add_export(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `export`."""
    parser = add_verb(
        verbs,
        "export",
        "Print records in another format: a flat CSV, Hugging Face's .eval_results, or the schema of a record.",
        "  exprbench export mine.json other.json > numbers.csv\n"
        "  exprbench export mine.json --to huggingface --dataset lab/exprbench > .eval_results/exprbench.yaml\n"
        "  exprbench export --to schema > record.schema.json",
    )
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="score record")
    parser.add_argument(
        "--to", choices=("csv", "huggingface", "schema"), default="csv", help="output format (default: csv)"
    )
    parser.add_argument("--dataset", default="", metavar="ID", help="dataset of the benchmark on Hugging Face")
    parser.add_argument("--url", default="", help="page of the results, for huggingface (default: none)")
    parser.add_argument("--extras", action="store_true", help="all columns, for huggingface")
    parser.set_defaults(handler=_run_export)


def _run_export(args: argparse.Namespace) -> None:
    from exprbench.core.errors import UserError
    from exprbench.leaderboard.exporters import to_eval_results, to_flat_csv

    if args.to == "schema":
        from exprbench.core.files import dump_json
        from exprbench.records import record_schema

        print(dump_json(record_schema()), end="")
        return
    if not args.records:
        raise UserError("export needs a record; expected one or more files that exprbench score wrote")
    if args.to == "csv":
        print(to_flat_csv(args.records), end="")
        return
    for path in args.records:
        print(to_eval_results(path, dataset=args.dataset, url=args.url, extras=args.extras), end="")
