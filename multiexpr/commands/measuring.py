"""The verbs that read the collection: `index` and `score`."""

import argparse
from pathlib import Path
from typing import Any

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE, TOO_MANY_FAILED, Parser
from exprbench.core.errors import UserError
from multiexpr.commands.options import (
    add_execution,
    add_recipe,
    add_scoring,
    add_workspace,
    execution_config,
    load_recipe,
)


def add_index(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `index`."""
    parser = add_verb(
        verbs,
        "index",
        "List a collection, cut long videos into shots, and report files and table rows that do not match.",
        "  multiexpr index OpenVid-1M/ --out out/\n"
        "  multiexpr index OpenHumanVid/ --out out/ --path-map clips/= --columns path=video_name",
    )
    add_source(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.set_defaults(handler=_run_index)


def _run_index(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.index(
        args.source, args.out, recipe=load_recipe(args), execution=execution_config(args), **listing_options(args)
    )
    return DONE


def add_source(parser: Parser) -> None:
    """Add the argument `SOURCE`, and the flags about the collection; `listing_options` reads them."""
    parser.add_argument(
        "source",
        type=_place,
        metavar="SOURCE",
        help="collection: a folder, one video, or a URL such as s3://bucket/videos",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the curation, on a local or shared disk"
    )
    kinds = "openvid, openhumanvid, hallo3, multiexpr, webdataset or folder"
    parser.add_argument("--kind", default="auto", help=f"kind of collection: {kinds} (default: detected)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="maximum number of videos to add to the index (default: all)"
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="OURS=THEIRS,...",
        help="names of the columns `path` and `caption` in the collection's tables, such as "
        "path=video_name,caption=text (default: the usual ones of its kind)",
    )
    parser.add_argument(
        "--path-map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="prefix of paths in tables and its replacement on disk, such as clips/=; repeatable",
    )
    parser.add_argument("--unlisted", action="store_true", help="include files that no table names")
    parser.add_argument("--no-content-check", action="store_true", help="skip the search for files with equal content")


def _place(text: str) -> Path | str:
    from multiexpr.sources.remote import is_url

    return text if is_url(text) else Path(text)


def listing_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `multiexpr.index` about the collection.

    Raises:
        UserError: an option has an impossible value.
    """
    from multiexpr.sources import SourceOptions
    from multiexpr.sources.tabular import parse_columns

    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit is {args.limit}; expected 1 or more")
    pairs = [pair.partition("=") for pair in args.path_map]
    if not all(equals for _, equals, _ in pairs):
        raise UserError(f"--path-map is {' '.join(args.path_map)!r}; expected OLD=NEW, such as clips/=")
    options = SourceOptions(
        columns=parse_columns(args.columns), path_map={o: n for o, _, n in pairs}, unlisted=args.unlisted
    )
    return {"kind": args.kind, "options": options, "limit": args.limit, "check_content": not args.no_content_check}


def add_score(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `score`."""
    parser = add_verb(
        verbs,
        "score",
        "Run the scorers on all clips that are not scored yet.",
        "  multiexpr score out/\n  multiexpr score out/ --score-all --workers 4\n"
        "  srun --ntasks 64 multiexpr score out/ --executor slurm",
    )
    add_workspace(parser)
    add_scoring(parser)
    add_recipe(parser)
    add_execution(parser)
    parser.set_defaults(handler=_run_score)


def _run_score(args: argparse.Namespace) -> int:
    import multiexpr

    multiexpr.score(
        args.out,
        recipe=load_recipe(args),
        score_all=args.score_all,
        retry_errors=args.retry_errors,
        execution=execution_config(args),
    )
    return exit_status(args.out, "score")


def exit_status(out: Path, *stages: str) -> int:
    """Print what stages left undone, and return 3 if there is anything, else 0."""
    import multiexpr
    from exprbench.core.progress import say

    lines = multiexpr.unfinished(out, stages=stages)
    for line in lines:
        say(line)
    return TOO_MANY_FAILED if lines else DONE
