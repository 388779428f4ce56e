"""Command line `baselines`: one verb per public function."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import exprbench
from baselines.spec import Fit
from exprbench.commands.options import add_split_and_track, add_verb, name_list
from exprbench.core.cli_base import TOO_MANY_FAILED, Parser, run
from exprbench.core.errors import UserError

if TYPE_CHECKING:
    from baselines.runner import RunResult, RunSettings

EXAMPLES = """\
  baselines list
  baselines install liveportrait
  baselines run liveportrait --benchmark bench --out out/liveportrait --gpus 0,1
  exprbench score --benchmark bench --predictions out/liveportrait --method LivePortrait"""

RUN_EXAMPLES = """\
  baselines run liveportrait --benchmark bench --out out/liveportrait
  baselines run x-portrait --benchmark bench --out out/x-portrait --gpus 0,1 --split single
  baselines run fantasyportrait --benchmark bench --out out/ours --set model=path/to/model
  baselines run liveportrait --benchmark bench --out o --python env/bin/python --repo LivePortrait
  baselines run liveportrait --benchmark bench --out o --dry-run"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; see `baselines --help`."""
    parser = Parser(
        prog="baselines",
        description="Run the methods that the paper compares, and your own, over a benchmark.",
        examples=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=exprbench.__version__)
    verbs = parser.add_subparsers(metavar="VERB", parser_class=Parser)
    for add in (_add_list, _add_install, _add_doctor, _add_test, _add_run, _add_import, _add_verify, _add_lock):
        add(verbs)
    return run(parser, argv)


def _add_method(parser: Parser) -> None:
    parser.add_argument("method", metavar="METHOD", help="id of baselines list, or folder with a method.toml")


def _add_environment(parser: Parser) -> None:
    parser.add_argument(
        "--gpus", type=_gpus, default="0", metavar="LIST", help="indices of GPUs, one job on each, or none (default: 0)"
    )
    parser.add_argument("--python", metavar="PATH", help="interpreter of the method (default: that of install)")
    parser.add_argument("--repo", type=Path, metavar="DIR", help="checkout of the method (default: that of install)")
    parser.add_argument(
        "--set",
        dest="options",
        action="append",
        type=_option,
        default=[],
        metavar="NAME=VALUE",
        help="option of the method; repeat for several",
    )


def _add_format(parser: Parser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="format (default: text)")


def _add_benchmark_and_out(parser: Parser) -> None:
    parser.add_argument("--benchmark", type=Path, required=True, metavar="BENCH", help="benchmark folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the predictions")


def _add_max_failed(parser: Parser) -> None:
    parser.add_argument(
        "--max-failed", type=int, default=0, metavar="N", help="failed cases above which the status is 3 (default: 0)"
    )


def _gpus(text: str) -> tuple[str, ...]:
    return ("",) if text == "none" else tuple(name_list(text))


def _option(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=VALUE")
    return name, value


def _settings(args: argparse.Namespace) -> "RunSettings":
    """Return the settings of a run for which a verb has flags."""
    from baselines.runner import RunSettings

    given = {name: value for name, value in vars(args).items() if name in RunSettings.__dataclass_fields__}
    return RunSettings(**{**given, "options": dict(args.options)})


def _add_list(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(verbs, "list", "List the methods.", "  baselines list\n  baselines list --format json")
    _add_format(parser)
    parser.set_defaults(handler=_run_list)


def _run_list(args: argparse.Namespace) -> int:
    from baselines.catalog import describe_methods, format_methods

    methods = describe_methods()
    print(json.dumps(methods, indent=2) if args.format == "json" else format_methods(methods))
    return 0


def _add_run(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(verbs, "run", "Make a method's predictions for a benchmark.", RUN_EXAMPLES)
    _add_method(parser)
    _add_benchmark_and_out(parser)
    add_split_and_track(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="number of cases (default: all)")
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: the method's)")
    _add_environment(parser)
    parser.add_argument("--minutes", type=float, metavar="N", help="time limit of an attempt (default: the method's)")
    parser.add_argument(
        "--attempts", type=int, default=3, metavar="N", help="attempts after a crash or time-out (default: 3)"
    )
    parser.add_argument("--keep", action="store_true", help="job folders are kept (default: no)")
    parser.add_argument("--overwrite", action="store_true", help="replacement of existing predictions (default: no)")
    parser.add_argument("--dry-run", action="store_true", help="the exact commands are printed and nothing is run")
    _add_max_failed(parser)
    parser.set_defaults(handler=_run_run)


def _run_run(args: argparse.Namespace) -> int:
    from baselines.runner import dry_run, run_method

    common = {"benchmark": args.benchmark, "out": args.out, "settings": _settings(args)}
    if not args.dry_run:
        return _report(run_method(args.method, **common), args)
    for case_id, line in dry_run(args.method, **common):
        print(f"# {case_id}\n{line}")
    return 0


def _report(result: "RunResult", args: argparse.Namespace) -> int:
    for case_id, reason in result.failed.items():
        print(f"{case_id}: {reason}", file=sys.stderr)
    print(f"{args.out}: {len(result.made)} made, {len(result.skipped)} skipped, {len(result.failed)} failed")
    return TOO_MANY_FAILED if len(result.failed) > args.max_failed else 0


def _add_install(verbs: argparse._SubParsersAction) -> None:
    examples = "  baselines install liveportrait\n  baselines install liveportrait --engine conda"
    parser = add_verb(verbs, "install", "Make a method's environment.", examples)
    _add_method(parser)
    parser.add_argument("--engine", choices=("uv", "conda", "docker"), help="tool to use (default: the first present)")
    parser.add_argument("--repo-url", metavar="URL", help="address of the repository (default: the method's)")
    parser.set_defaults(handler=_run_install)


def _run_install(args: argparse.Namespace) -> int:
    from baselines.method_environment import install
    from baselines.spec import find_method

    print(install(find_method(args.method), engine=args.engine, repo_url=args.repo_url))
    return 0


def _add_doctor(verbs: argparse._SubParsersAction) -> None:
    examples = (
        "  baselines doctor liveportrait\n"
        "  baselines doctor x-portrait --python envs/x/bin/python --repo X-Portrait --gpus 0,1\n"
        "  baselines doctor fantasyportrait --set model=path/to/model"
    )
    parser = add_verb(verbs, "doctor", "Check that a method can run on this machine; status 3 if not.", examples)
    _add_method(parser)
    _add_environment(parser)
    _add_format(parser)
    parser.set_defaults(handler=_run_doctor)


def _run_doctor(args: argparse.Namespace) -> int:
    from baselines.doctor import examine, format_checks
    from baselines.spec import find_method

    places = {"python": args.python, "repo": args.repo, "options": dict(args.options)}
    checks = list(examine(find_method(args.method), gpus=args.gpus, **places))
    print(json.dumps([vars(c) for c in checks], indent=2) if args.format == "json" else format_checks(checks))
    return TOO_MANY_FAILED if any(check.status == "failed" for check in checks) else 0


def _add_test(verbs: argparse._SubParsersAction) -> None:
    examples = (
        "  baselines test liveportrait\n"
        "  baselines test x-portrait --source face.png --driver clip.mp4 --out trial\n"
        "  baselines test fantasyportrait --set model=path/to/model"
    )
    parser = add_verb(
        verbs, "test", "Run a method twice on one pair and set its status; status 3 if it fails.", examples
    )
    _add_method(parser)
    _add_environment(parser)
    parser.add_argument("--minutes", type=float, metavar="N", help="time limit of a run (default: the method's)")
    parser.add_argument("--source", type=Path, metavar="IMAGE", help="portrait, with --driver (default: a drawn one)")
    parser.add_argument("--driver", type=Path, metavar="VIDEO", help="driving video (default: a drawn one)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the videos (default: a temporary one)")
    _add_format(parser)
    parser.set_defaults(handler=_run_test)


def _run_test(args: argparse.Namespace) -> int:
    import tempfile

    from baselines.spec import find_method
    from baselines.trial import format_trial, try_method

    if bool(args.source) != bool(args.driver):
        raise UserError("--source and --driver belong together; give both or neither")
    pair = (args.source, args.driver) if args.source else None
    with tempfile.TemporaryDirectory(prefix="exprbench-test-") as folder:
        out = args.out or Path(folder)
        trial = try_method(find_method(args.method), out=out, pair=pair, settings=_settings(args))
    print(json.dumps(vars(trial), indent=2) if args.format == "json" else format_trial(trial))
    return TOO_MANY_FAILED if trial.status == "not working" else 0


def _add_import(verbs: argparse._SubParsersAction) -> None:
    examples = (
        "  baselines import videos/ --benchmark bench --out out/mine --name Mine\n"
        "  baselines import videos/ --benchmark bench --out out/skyreels --as skyreels-a1\n"
        "  baselines import videos/ --benchmark bench --out out/mine --name Mine --by-time --fit inside"
    )
    parser = add_verb(verbs, "import", "Make predictions of videos that were made elsewhere.", examples)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with {case_id}.mp4 for every case")
    _add_benchmark_and_out(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the method (default: that of --as)")
    parser.add_argument(
        "--as",
        dest="rules",
        metavar="METHOD",
        help="method for timing and picture (default: one frame per driver frame)",
    )
    parser.add_argument(
        "--by-time", action="store_true", help="frames are paired by the times in the file (default: no)"
    )
    parser.add_argument(
        "--fit",
        choices=get_args(Fit),
        default="same",
        help="how the source was brought to the videos' shape, without --as (default: same)",
    )
    _add_max_failed(parser)
    parser.set_defaults(handler=_run_import)


def _run_import(args: argparse.Namespace) -> int:
    from baselines.importing import import_videos
    from baselines.spec import find_method

    rules = find_method(args.rules) if args.rules else None
    name = args.name or (rules.id if rules else "")
    if not name:
        raise UserError("the method has no name; give it with --name, or its rules with --as")
    given = {key: getattr(args, key) for key in ("benchmark", "out", "by_time", "fit")}
    return _report(import_videos(args.folder, name=name, rules=rules, **given), args)


def _add_verify(verbs: argparse._SubParsersAction) -> None:
    examples = "  baselines verify out/liveportrait\n  baselines verify out/liveportrait --benchmark bench"
    parser = add_verb(verbs, "verify", "Hold predictions against their run records; status 3 if they differ.", examples)
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of baselines run or import")
    parser.add_argument(
        "--benchmark", type=Path, metavar="BENCH", help="benchmark that must be complete (default: none)"
    )
    parser.set_defaults(handler=_run_verify)


def _run_verify(args: argparse.Namespace) -> int:
    from baselines.run_check import run_problems

    problems = run_problems(args.out, args.benchmark)
    print("\n".join(problems) if problems else f"{args.out}: predictions and records agree")
    return TOO_MANY_FAILED if problems else 0


def _add_lock(verbs: argparse._SubParsersAction) -> None:
    parser = add_verb(
        verbs,
        "lock",
        "Resolve a method's requirements.txt into requirements.lock; nothing is installed.",
        "  baselines lock mymethod\n  baselines lock --check",
    )
    parser.add_argument("method", nargs="*", metavar="METHOD", help="methods (default: all with a requirements.txt)")
    parser.add_argument("--check", action="store_true", help="status 3 if a lock is out of date; nothing is written")
    parser.set_defaults(handler=_run_lock)


def _run_lock(args: argparse.Namespace) -> int:
    from baselines.method_environment import lock
    from baselines.spec import find_method, load_methods

    methods = [find_method(name) for name in args.method]
    methods = methods or [m for m in load_methods() if (m.folder / "requirements.txt").is_file()]
    outdated = []
    for method in methods:
        is_current = lock(method, check=args.check)
        outdated += [] if is_current else [method.id]
        print(f"{method.id}: {'up to date' if is_current else 'out of date' if args.check else 'written'}")
    return TOO_MANY_FAILED if args.check and outdated else 0
