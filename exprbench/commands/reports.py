"""The verb `report`."""

import argparse
import sys
from pathlib import Path

import exprbench
from exprbench.commands.options import add_verb, add_workers, folder_by_method, method_folder
from exprbench.core.cli_base import TOO_MANY_FAILED
from exprbench.core.errors import UserError


def add(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `report`."""
    parser = add_verb(
        verbs,
        "report",
        "Write a static page with the table, distributions, and the videos of every case in step.",
        "  exprbench report a.json b.json --out report\n"
        "  exprbench report a.json b.json --out report --benchmark bench -p a=out/a -p b=out/b --figures\n"
        "  exprbench report records/*.json --out report --benchmark bench --predictions predictions/",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="score record")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to create; an earlier report in it is replaced"
    )
    parser.add_argument("--benchmark", type=Path, metavar="BENCH", help="benchmark folder (default: no videos)")
    parser.add_argument(
        *("--predictions", "-p"),
        action="append",
        default=[],
        type=_method_or_all,
        metavar="METHOD=DIR",
        help="name of a method and folder of its videos, once per method; or one DIR with a folder per method "
        "(default: only drivers are shown)",
    )
    parser.add_argument("--title", default="ExprBench report", help="title of the page (default: ExprBench report)")
    parser.add_argument(
        "--tile", type=int, default=256, metavar="N", help="longer side of a video in pixels (default: 256)"
    )
    parser.add_argument(
        "--crf", type=int, default=23, metavar="N", help="x264's CRF of the videos; lower is better (default: 23)"
    )
    parser.add_argument("--figures", action="store_true", help="figures as PDF and PNG; needs matplotlib")
    parser.add_argument("--no-landmarks", dest="landmarks", action="store_false", help="no files of landmarks")
    for name, text in (
        ("extras", "all further columns of the records"),
        ("mix", "records of different protocols, weights or versions in one table, marked"),
        ("common", "means over the cases that all records have"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    add_workers(parser)
    parser.set_defaults(handler=_run)


def _run(args: argparse.Namespace) -> int:
    from exprbench.report import ReportSettings

    options, predictions = vars(args), folder_by_method(args.predictions)
    if "" in predictions and len(predictions) > 1:
        raise UserError("--predictions names methods and a folder of all; give METHOD=DIR for each, or one DIR")
    report = exprbench.build_report(
        args.records,
        out=args.out,
        benchmark=args.benchmark,
        predictions=predictions.get("", predictions),
        settings=ReportSettings(**{name: options[name] for name in ReportSettings.__dataclass_fields__}),
        workers=args.workers,
    )
    for case_id, reason in report.left_out.items():
        print(f"no videos: {case_id}: {reason}", file=sys.stderr)
    print(f"{report.page}: videos of {report.num_cases} cases, {report.num_bytes / 1e6:.1f} MB; open it in a browser")
    return TOO_MANY_FAILED if report.left_out else 0


def _method_or_all(text: str) -> tuple[str, Path]:
    return method_folder(text) if "=" in text else ("", Path(text))
