"""Arguments that several verbs share, and the settings that they stand for."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from exprbench.core.cli_base import Parser

if TYPE_CHECKING:
    from multiexpr.execution.executors import ExecutionConfig
    from multiexpr.recipe import Recipe


def add_workspace(parser: Parser) -> None:
    """Add the argument `DIR`."""
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the curation")


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
