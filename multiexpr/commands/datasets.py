"""The verbs that make the dataset of the kept clips: `caption` and `export`."""

import argparse

from exprbench.commands.options import add_verb
from exprbench.core.cli_base import DONE, TOO_MANY_FAILED
from multiexpr.commands.options import (
    add_destination,
    add_execution,
    add_executor,
    add_recipe,
    add_workspace,
    execution_config,
    load_recipe,
)


def add_caption(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `caption`."""
    parser = add_verb(
        verbs,
        "caption",
        "Caption kept clips: with the collection's own text, an OpenAI-compatible endpoint, or CogVLM2.",
        "  multiexpr caption out/ --set caption.backend=openai --set caption.url=http://127.0.0.1:8000/v1 "
        "--set caption.model=NAME\n"
        "  multiexpr caption out/ --set caption.backend=cogvlm2 --set caption.model=/models/cogvlm2-llama3-caption",
    )
    add_workspace(parser)
    add_recipe(parser)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="number of clips to caption, rounded up to whole shards (default: all)"
    )
    add_executor(parser)
    parser.set_defaults(handler=_run_caption)


def _run_caption(args: argparse.Namespace) -> int:
    import multiexpr
    from multiexpr.execution.executors import ExecutionConfig

    execution = ExecutionConfig(executor=args.executor)
    counts = multiexpr.caption(args.out, recipe=load_recipe(args), limit=args.limit, execution=execution)
    return TOO_MANY_FAILED if counts["errors"] else DONE


def add_export(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `export`."""
    parser = add_verb(
        verbs,
        "export",
        "Write the dataset of the kept clips to DIR/dataset.",
        '  multiexpr export out/\n  multiexpr export out/ --set \'export.formats=["folder", "webdataset"]\'',
    )
    add_workspace(parser)
    add_recipe(parser)
    add_execution(parser)
    add_destination(parser)
    parser.set_defaults(handler=_run_export)


def _run_export(args: argparse.Namespace) -> int:
    import multiexpr

    num_clips = multiexpr.export(args.out, recipe=load_recipe(args), to=args.to, execution=execution_config(args))
    print(f"{num_clips:,} clips: {args.to or args.out / 'dataset'}")
    return DONE
