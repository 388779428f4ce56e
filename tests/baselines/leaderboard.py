"""`make leaderboard`: the double of every method, installed by uv, run, scored, and put into one table.

The doubles copy the driver in the shape in which the real method would return it. So in self cases of one person every
row must be near perfect: what is missing was lost by a method's rate, crop or frames, or by the runner.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import exprbench
from baselines.method_environment import install, lock
from baselines.run_check import run_problems
from baselines.runner import RunSettings, run_method
from baselines.spec import find_method, load_method, method_folders
from exprbench.benchmark import Benchmark
from exprbench.core.cli_base import Parser, run
from exprbench.core.files import write_text
from exprbench.toy_benchmark.toy_networks import DemoClipNet, DemoImageNet
from tests.baselines.bench import OPTIONS, part_psnrs, repository
from tests.baselines.drawn import drawn_benchmark

METRICS = ("fid", "fvd", "psnr", "ssim", "lmd", "mae", "aed", "apd", "swap")
REQUIREMENTS = "av\nnumpy\nopencv-python-headless\npyyaml\n"
NEWEST = "2026-01-01"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LEAST_PSNR, MOST_LMD = 27.0, 8e-3  # in self cases; at 12 frames per second, a neighbour is shown in between
FACES_ONLY = ("fantasyportrait-official", "multi")  # gets the drivers' faces, and cannot copy what is around them


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def double_method(name, folder):
    """The method of a double, with its repository; the specification is the real one, apart from its origin."""
    upstream, target = folder / "upstream" / name, folder / "methods" / name
    if not (upstream / ".git").is_dir():
        shutil.rmtree(upstream, ignore_errors=True)
        repository(name, upstream)
        git(upstream, "init", "--quiet")
        git(upstream, "add", "--force", ".")
        git(upstream, "commit", "--quiet", "-m", "double")
    if not (target / "method.toml").is_file():
        shutil.copytree(
            find_method(name).folder, target, ignore=shutil.ignore_patterns("requirements.*", "__pycache__")
        )
        (target / "requirements.txt").write_text(REQUIREMENTS)
        write_text(target / "method.toml", rewritten(find_method(name), git(upstream, "rev-parse", "HEAD")))
    return load_method(target), upstream


def rewritten(method, commit):
    """A specification with this Python, the double's commit and packages, and nothing to compile."""
    text = (method.folder / "method.toml").read_text()
    start, rest = text.split("[[steps]]", 1)
    lines, skipping = [], False
    for line in start.splitlines():
        key = line.split(" = ")[0]
        skipping = skipping or key == "build"
        if not skipping and key not in ("repo", "commit", "python", "exclude_newer"):
            lines.append(line)
        skipping = skipping and not line.endswith("]")
    origin = [f'repo = "double"\ncommit = "{commit}"\npython = "{VERSION}"\nexclude_newer = "{NEWEST}"']
    return "\n".join([*lines, *origin, "", "[[steps]]"]) + rest


def install_double(name, folder):
    """The method of a double, installed by uv from a lock; the locks of all doubles are one."""
    method, upstream = double_method(name, folder)
    common = folder / "requirements.lock"
    if common.is_file():
        shutil.copy(common, method.lock_path)
    else:
        lock(method)
        shutil.copy(method.lock_path, common)
    install(method, engine="uv", repo_url=str(upstream))
    return method


def make_record(name, folder, bench, slots):
    """Run a double and score it; return the score record, and the cases that failed."""
    method, out = install_double(name, folder), folder / "predictions" / name
    settings = RunSettings(gpus=("",) * slots, options=OPTIONS.get(name))
    result = run_method(method, benchmark=bench.root, out=out, settings=settings)
    record = exprbench.score(
        benchmark=bench.root,
        predictions=out,
        method=f"{method.name} (double)",
        out=folder / "records" / f"{name}.json",
        metrics=METRICS,
        networks={"fid": DemoImageNet(), "fvd": DemoClipNet()},
        floors=False,
        workers=1,
    )
    left = [problem for problem in run_problems(out) if not any(case_id in problem for case_id in result.failed)]
    failed = [f"{case_id}: {reason}" for case_id, reason in result.failed.items()]
    return record, [*failed, *left, *shortcomings(record, bench, out, result.failed)]


def shortcomings(record, bench, out, failed):
    """How the self cases fall short of a copy of the driver, one line each."""
    lines = []
    scored = {case.case_id: case.values for case in record.cases}
    for case in bench.select(None, "self"):
        if case.case_id in failed:
            continue
        psnrs, lmd = part_psnrs(bench, out, case), scored[case.case_id].get("lmd")
        measured = f"LMD {'none' if lmd is None else f'{lmd:.4f}'}"
        print(
            f"{record.method}: {case.case_id}: PSNR of the parts {', '.join(f'{p:.1f}' for p in psnrs)} dB, {measured}"
        )
        is_blurred = min(psnrs) < LEAST_PSNR and (out.name, case.split) != FACES_ONLY
        if is_blurred or (lmd is not None and lmd > MOST_LMD):
            lines.append(f"{case.case_id}: PSNR {min(psnrs):.1f} dB, {measured}")
    return lines


def main():
    parser = Parser(prog="leaderboard", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/leaderboard"), help="folder (default: runs/leaderboard)")
    parser.add_argument("--benchmark", type=Path, help="benchmark of real clips (default: four drawn cases)")
    parser.add_argument("--methods", nargs="*", default=sorted(method_folders()), help="methods (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="jobs at a time (default: 1)")
    parser.set_defaults(handler=make_leaderboard)
    return run(parser)


def make_leaderboard(args):
    folder = args.out.absolute()
    os.environ["EXPRBENCH_BASELINES"] = str(folder / "environments")
    bench = Benchmark.open(args.benchmark) if args.benchmark else drawn_benchmark(folder)
    records, problems = {}, {}
    for name in args.methods:
        records[name], problems[name] = make_record(name, folder, bench, args.jobs)
    text = exprbench.table(list(records.values()))
    write_text(folder / "leaderboard.md", text)
    print(text)
    problems["report"] = write_report(folder, bench, records)
    for name, lines in problems.items():
        for line in lines:
            print(f"{name}: {line}", file=sys.stderr)
    return 1 if any(problems.values()) else 0


def write_report(folder, bench, records):
    """Write the report of all records; return the cases without videos."""
    predictions = {record.method: folder / "predictions" / name for name, record in records.items()}
    report = exprbench.build_report(
        list(records.values()), out=folder / "report", benchmark=bench.root, predictions=predictions, workers=1
    )
    print(f"{report.page}: videos of {report.num_cases} cases, {report.num_bytes / 1e6:.1f} MB")
    return [f"{case_id}: {reason}" for case_id, reason in report.left_out.items()]


if __name__ == "__main__":
    sys.exit(main())
