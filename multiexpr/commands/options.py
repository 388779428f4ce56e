"""Arguments that several verbs share, and the settings that they stand for."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exprbench.core.cli_base import DONE, TOO_MANY_FAILED, Parser
from exprbench.core.errors import UserError

if TYPE_CHECKING:
    from multiexpr.execution.executors import ExecutionConfig
    from multiexpr.recipe import Recipe


def add_workspace(parser: Parser) -> None:
    """Add the argument `DIR`."""
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the curation")


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


def add_scoring(parser: Parser) -> None:
    """Add the flags `--score-all` and `--retry-errors`."""
    parser.add_argument(
        "--score-all", action="store_true", help="run every scorer on every clip, even after a rule drops it"
    )
    parser.add_argument("--retry-errors", action="store_true", help="score clips with errors again")


def add_recipe(parser: Parser) -> None:
    """Add the flags that change the recipe; `load_recipe` reads them."""
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="recipe in TOML (default: DIR/recipe.toml, else the one that `multiexpr recipe` prints)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="value of the recipe to change, such as keep.people.min_share=0.6; repeatable",
    )
    parser.add_argument(
        "--people-model",
        metavar="FILE",
        help="YOLO detector of people: .pt, .onnx, .engine or OpenVINO folder (default: yolov8n)",
    )
    parser.add_argument(
        "--trust", action="store_true", help="load a .pt file that is not a published one; it can run code"
    )


def load_recipe(args: argparse.Namespace) -> "Recipe | None":
    """Return the recipe of the command line; None if no option changes the recipe in use."""
    from exprbench.weights import TRUST
    from multiexpr import recipe

    if args.trust:
        os.environ[TRUST] = "1"  # inherited by the workers
    settings = [*args.settings, *([f"score.people.model={args.people_model}"] if args.people_model else [])]
    if not args.recipe and not settings:
        return None
    in_use = args.out / "recipe.toml"
    return recipe.load_recipe(args.recipe or (in_use if in_use.exists() else None), settings)


def add_executor(parser: Parser) -> None:
    """Add the flag `--executor`."""
    parser.add_argument("--executor", default="local", metavar="NAME", help="local, slurm or ray (default: local)")


def add_execution(parser: Parser) -> None:
    """Add the flags `--executor`, `--workers`, `--devices` and `--decoder`; `execution_config` reads them."""
    add_executor(parser)
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="number of processes (default: all cores)")
    parser.add_argument(
        "--devices",
        default="auto",
        metavar="LIST",
        help="devices of the networks: auto, cpu, or a list such as cuda:0,cuda:1 (default: auto)",
    )
    parser.add_argument(
        "--decoder", default="software", metavar="NAME", help="video decoder: software or nvdec (default: software)"
    )


def execution_config(args: argparse.Namespace) -> "ExecutionConfig":
    """Return the executor, workers, devices and decoder of the command line."""
    from exprbench.commands.options import name_list
    from multiexpr.execution.executors import ExecutionConfig

    devices = tuple(name_list(args.devices))
    return ExecutionConfig(executor=args.executor, workers=args.workers, devices=devices, decoder=args.decoder)


def add_destination(parser: Parser) -> None:
    """Add the flag `--to`."""
    parser.add_argument(
        "--to", metavar="URL", help="folder on object storage that gets a copy of the dataset, such as s3://bucket/name"
    )


def exit_status(out: Path, *stages: str) -> int:
    """Print what stages left undone, and return 3 if there is anything, else 0."""
    import multiexpr
    from exprbench.core.progress import say

    lines = multiexpr.unfinished(out, stages=stages)
    for line in lines:
        say(line)
    return TOO_MANY_FAILED if lines else DONE
