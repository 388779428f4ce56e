"""The verbs about rules and verdicts: `select`, `why` and `recipe`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE
from multiexpr.commands.options import add_recipe, add_workspace, load_recipe

if TYPE_CHECKING:
    from multiexpr.recipe import Recipe


def add_select(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `select`."""
    parser = add_verb(
        verbs,
        "select",
        "Apply a recipe to the stored scores and decide which clips are kept; measures nothing.",
        "  multiexpr select out/ --set keep.motion.min_expression=2.0          show what would be kept\n"
        "  multiexpr select out/ --set keep.motion.min_expression=2.0 --save   decide, and keep the setting\n"
        "  multiexpr select out/ --target 30000 --write my.toml",
    )
    add_workspace(parser)
    add_recipe(parser)
    parser.add_argument(
        "--target",
        type=int,
        metavar="N",
        help="number of clips to keep: print thresholds that keep about N, decide nothing",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="file for the recipe that --target proposes")
    parser.add_argument(
        "--save",
        action="store_true",
        help="write the verdicts and the settings of --recipe and --set (default: only show what would be kept)",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="output format (default: text)")
    parser.set_defaults(handler=_run_select)


def _run_select(args: argparse.Namespace) -> int:
    import multiexpr
    from exprbench.core.progress import say
    from multiexpr.reporting.funnel import funnel_lines

    recipe = load_recipe(args)
    if args.target is not None:
        return _propose(args, recipe)
    save = args.save or recipe is None
    funnel = multiexpr.select(args.out, recipe=recipe, save=save).as_dict()
    print(json.dumps(funnel, indent=2) if args.format == "json" else "\n".join(funnel_lines(funnel)))
    if not save:
        say("select: nothing was changed; decide with --save")
    return DONE


def _propose(args: argparse.Namespace, recipe: "Recipe | None") -> int:
    from multiexpr.curation import propose_thresholds
    from multiexpr.recipe import save_recipe

    proposal = propose_thresholds(args.out, args.target, recipe=recipe)
    for key, (before, after) in proposal.changes.items():
        print(f"{key} = {after:g}  # was {before:g}")
    print(f"# keeps {proposal.num_kept:,} of {proposal.num_reachable:,} clips that pass all other rules")
    if proposal.num_unknown:
        command = f"multiexpr score {args.out} --score-all"
        print(f"# clips that are not fully scored: {proposal.num_unknown:,}; score them with: {command}")
    if args.write:
        save_recipe(args.write, proposal.recipe)
    return DONE


def add_why(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `why`."""
    parser = add_verb(
        verbs,
        "why",
        "Print all scores and thresholds of a clip, and the rule that dropped it.",
        "  multiexpr why out/ 3f2a91\n  multiexpr why out/ interviews/0001.mp4 --recipe my.toml",
    )
    add_workspace(parser)
    parser.add_argument("clip", metavar="CLIP", help="clip id, its first digits, or the path of the video")
    add_recipe(parser)
    parser.set_defaults(handler=_run_why)


def _run_why(args: argparse.Namespace) -> int:
    import multiexpr

    print(multiexpr.why(args.out, args.clip, recipe=load_recipe(args)))
    return DONE


def add_recipe_verb(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `recipe`."""
    parser = add_verb(
        verbs, "recipe", "Print the default recipe with an explanation of every value.", "  multiexpr recipe > my.toml"
    )
    parser.set_defaults(handler=_run_recipe)


def _run_recipe(_: argparse.Namespace) -> int:
    from multiexpr.recipe import DEFAULT_PATH

    print(DEFAULT_PATH.read_text(encoding="utf-8"), end="")
    return DONE
