"""Check that a method can run here: repository, interpreter, packages, model files, GPU memory, arguments."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from baselines.attempt import JobSettings, commands_of
from baselines.command import (
    Command,
    absolute_paths,
    check_options,
    job_environment,
    make_working_folder,
    placeholders,
    write_configs,
)
from baselines.gpus import total_memory_bytes
from baselines.method_environment import (
    Environment,
    environment_key,
    execute,
    find_environment,
    find_uv,
    is_installed,
    repo_problems,
)
from baselines.model_hashes import hash_model, weight_path
from baselines.spec import Kind, Method, Weight
from baselines.stage import Job, example_job
from exprbench.core.errors import UserError
from exprbench.core.files import read_json

PROBE = Path(__file__).with_name("parser_probe.py")
PARSE_S = 600.0
LAUNCHERS = ("torch.distributed.run", "accelerate.commands.launch")  # they parse arguments of their own first
GIB = 1 << 30
PACKAGES = (
    "import importlib.metadata as m, json, sys; "
    "packages = {d.metadata['Name']: d.version for d in m.distributions()}; "
    "print(json.dumps(['.'.join(map(str, sys.version_info[:3])), packages]))"
)


@dataclass(frozen=True, kw_only=True)
class MethodCheck:
    """One thing that was checked; a `warning` may or may not keep the method from running."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str


def examine(
    method: Method,
    *,
    gpus: Sequence[str] = ("0",),
    options: Mapping[str, str] | None = None,
    python: str | None = None,
    repo: Path | None = None,
) -> Iterator[MethodCheck]:
    """Yield what is in order and what is missing for a run of a method, with the remedy.

    Args:
        gpus: indices of the GPUs of the run; an empty one is a slot without a GPU.
        options: values of the method's options.
        python, repo: interpreter and repository to use instead of an installed environment.
    """
    chosen = absolute_paths(method, options or {})
    environment = find_environment(method, python=python, repo=repo)
    yield _check_installation(method, python, repo)
    if method.repo and (repo or is_installed(method)):
        yield _check_repo(method, environment)
    packages = None
    if python or is_installed(method):
        packages, check = _check_interpreter(method, environment)
        yield check
    if packages is not None and method.lock_path.is_file():
        yield _check_packages(method, packages, is_own=python is not None)
    yield from (_check_weight(method, weight, environment, chosen) for weight in method.weights)
    yield from (_check_gpu(method, gpu) for gpu in gpus)
    if packages is not None:
        yield from _check_arguments(method, environment, chosen)


def _check_installation(method: Method, python: str | None, repo: Path | None) -> MethodCheck:
    if (python and repo) or is_installed(method):
        text = "given by --python and --repo" if python and repo else f"key {environment_key(method)}"
        return MethodCheck(name="environment", status="ok", detail=text)
    detail = f"not installed; run: baselines install {method.id}, or give --python and --repo"
    uv = find_uv()
    if (
        uv
        and subprocess.run(
            [uv, "python", "find", "--no-python-downloads", method.python], capture_output=True, check=False
        ).returncode
    ):
        detail += f"; Python {method.python} is not on this machine, so uv will download it"
    return MethodCheck(name="environment", status="failed", detail=detail)


def _check_repo(method: Method, environment: Environment) -> MethodCheck:
    repo = environment.repo
    if repo is None or not repo.is_dir():
        return MethodCheck(name="repository", status="failed", detail=f"there is no {repo}")
    problems = repo_problems(method, repo)
    text = f"{repo} {' and '.join(problems)}" if problems else f"at {method.commit[:10]}"
    return MethodCheck(name="repository", status="failed" if problems else "ok", detail=text)


def _check_interpreter(method: Method, environment: Environment) -> tuple[dict[str, str] | None, MethodCheck]:
    """Return the installed packages by name, None if the interpreter does not start."""
    try:
        text = execute([*environment.python, "-c", PACKAGES], f"starting {environment.python[0]}")
        version, packages = json.loads(text.splitlines()[-1])
    except (UserError, ValueError, IndexError) as error:
        return None, MethodCheck(name="interpreter", status="failed", detail=str(error))
    is_right = version.rpartition(".")[0] == method.python or not method.repo
    expected = "" if is_right else f"; the method needs {method.python}"
    return packages, MethodCheck(
        name="interpreter", status="ok" if is_right else "warning", detail=f"Python {version}{expected}"
    )


def _check_packages(method: Method, packages: Mapping[str, str], *, is_own: bool) -> MethodCheck:
    """Compare the installed packages with the lock; in an environment of the user's, a difference is a warning."""
    found = {_normal(name): version for name, version in packages.items()}
    pins = {_normal(name): version for name, version in locked(method.lock_path.read_text(encoding="utf-8"))}
    wrong = [f"{name} {found.get(name, 'missing')}" for name, version in pins.items() if found.get(name) != version]
    if not wrong:
        return MethodCheck(name="packages", status="ok", detail=f"the {len(pins)} of the lock")
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    detail = f"{len(wrong)} of {len(pins)} differ from the lock: {', '.join(wrong[:4])}{more}"
    return MethodCheck(name="packages", status="warning" if is_own else "failed", detail=detail)


def locked(text: str) -> list[tuple[str, str]]:
    """Return (name, version) of the pins in a lock."""
    return re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, flags=re.MULTILINE)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_weight(method: Method, weight: Weight, environment: Environment, options: Mapping[str, str]) -> MethodCheck:
    name, source = f"weights {weight.path}", f"; get it from {weight.url}" if weight.url else ""
    path = weight_path(method, weight.path, environment, options)
    if path is None:
        return MethodCheck(name=name, status="warning", detail="not checked: its path is an option; give it with --set")
    if not path.exists():
        return MethodCheck(name=name, status="failed", detail=f"missing{source}")
    if not weight.sha256:
        return MethodCheck(name=name, status="ok", detail="there; no hash is known")
    digest = hash_model(path)
    if digest != weight.sha256:
        return MethodCheck(name=name, status="failed", detail=f"has sha256 {digest}; expected {weight.sha256}{source}")
    return MethodCheck(name=name, status="ok", detail=f"sha256 {digest[:16]}")


def _check_gpu(method: Method, gpu: str) -> MethodCheck:
    if not gpu:
        return MethodCheck(name="GPU", status="warning", detail="none is used; the method may need one")
    total = total_memory_bytes(gpu)
    name, needed = f"GPU {gpu}", method.min_vram_gb
    if not total:
        return MethodCheck(name=name, status="failed", detail="nvidia-smi does not list it")
    if total < needed * GIB:
        return MethodCheck(name=name, status="failed", detail=f"has {total / GIB:.1f} GiB; the method needs {needed:g}")
    how = f"the method needs {needed:g}" if needed else "how much the method needs is not known"
    return MethodCheck(name=name, status="ok", detail=f"{total / GIB:.1f} GiB; {how}")


def _check_arguments(method: Method, environment: Environment, options: dict[str, str]) -> Iterator[MethodCheck]:
    """Yield, for each process of the method, whether its own parser accepts what would be passed."""
    try:
        check_options(method, options)
    except UserError as error:
        yield MethodCheck(name="arguments", status="warning", detail=f"not checked: {error}")
        return
    kinds: list[Kind] = ["single", "multi"] if method.multi == "native" else ["single"]
    for kind in kinds:
        yield from _check_kind(method, environment, options, kind)


def _check_kind(method: Method, environment: Environment, options: dict[str, str], kind: Kind) -> Iterator[MethodCheck]:
    with tempfile.TemporaryDirectory(prefix="exprbench-doctor-") as folder:
        job = example_job(Path(folder), kind)
        settings = JobSettings(
            method=method, environment=environment, options=options, seed=method.seed, timeout_s=60 * method.minutes
        )
        for part in (job.out, job.folder / "tmp", job.folder / "input"):
            part.mkdir()
        try:
            make_working_folder(method, job, environment)
            values = placeholders(method, job, environment, options, method.seed)
            write_configs(method, job, environment, values)
        except (UserError, OSError) as error:
            yield MethodCheck(name=f"arguments ({kind})", status="failed", detail=str(error))
            return
        for command in commands_of(settings, job, ""):
            yield _probe(method, environment, job, command, kind)


def _probe(method: Method, environment: Environment, job: Job, command: Command, kind: Kind) -> MethodCheck:
    start = len(environment.python)
    if command.argv[:start] != environment.python:
        name = f"arguments of {command.argv[0]} ({kind})"
        return MethodCheck(name=name, status="warning", detail="not checked: it is not started by {python}")
    flags, words = script_of(command.argv[start:])
    name = f"arguments of {' '.join(words[:2]) if words[0] == '-m' else words[0]} ({kind})"
    if Path(words[0]).is_relative_to(method.folder):
        return MethodCheck(name=name, status="ok", detail="a script of the method's own folder")
    result = job.folder / "parsed.json"
    result.unlink(missing_ok=True)
    probe = shutil.copy(PROBE, job.folder)  # where a container sees it
    argv = [*environment.python, *flags, str(probe), str(result), *words]
    done = _run_probe(argv, command, job_environment(method, command))
    if not result.is_file():
        return MethodCheck(name=name, status="failed", detail=f"not accepted: {done}")
    unknown = read_json(result)["unknown"]
    text = f"its parser does not know {' '.join(unknown)}" if unknown else "accepted by its parser, after its imports"
    return MethodCheck(name=name, status="failed" if unknown else "ok", detail=text)


def _run_probe(argv: list[str], command: Command, env: dict[str, str]) -> str:
    """Run the probe, and return how it ended and its last line."""
    try:
        done = subprocess.run(
            argv,
            cwd=command.cwd,
            env=env,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PARSE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return f"status {done.returncode}, {lines[-1].strip() if lines else 'no message'}"


def script_of(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the interpreter's flags, and the words from the script or `-m MODULE` on, without a launcher's."""
    start = 0
    while words[start].startswith("-") and words[start] != "-m":
        start += 2 if words[start] in ("-W", "-X") else 1
    flags, rest = list(words[:start]), list(words[start:])
    if rest[0] == "-m" and rest[1] in LAUNCHERS:
        rest = rest[next(i for i, word in enumerate(rest) if word.endswith(".py")) :]
    return flags, rest


def format_checks(checks: Sequence[MethodCheck]) -> str:
    """Return checks as lines of text."""
    width = max(len(check.name) for check in checks)
    return "\n".join(f"{check.status:<7}  {check.name:<{width}}  {check.detail}" for check in checks)
