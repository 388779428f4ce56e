"""Environments of methods: an interpreter of the user's, or one made from the lock by uv, conda or docker."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.spec import Method
from exprbench.core.cache import cache_root
from exprbench.core.errors import UserError
from exprbench.core.files import read_json, sha256_bytes, sha256_json, write_json, write_text
from exprbench.core.progress import say

ENGINES = ("uv", "conda", "docker")
ROOT = "EXPRBENCH_BASELINES"
MARKER = "installed.json"
BUILD_TOOLS = ("setuptools<81", "wheel", "pip", "ninja")
PASSED_ON = ("PYTHONDONTWRITEBYTECODE", "MPLBACKEND", "TMPDIR")  # variables of a job that a container gets
PLATFORM = "x86_64-manylinux_2_28"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where a method runs.

    Attributes:
        python: argument vector that starts its interpreter.
        repo: its checkout, None for an installed package.
        key: hash of everything that it was made from, or `given-` and the hash of the path of the user's interpreter.
        commit: of the checkout, with `-dirty` if its files were changed; empty if it is no git repository.
    """

    python: tuple[str, ...]
    repo: Path | None
    key: str
    commit: str


def environment_key(method: Method) -> str:
    """Return the hash of everything that an environment is made from."""
    lock = method.lock_path.read_text(encoding="utf-8") if method.lock_path.is_file() else ""
    patches = [sha256_bytes(path.read_bytes()) for path in method.patches]
    return sha256_json([lock, method.python, method.commit, patches, method.build])[:12]


def environments_root() -> Path:
    """Return the folder of all environments: `$EXPRBENCH_BASELINES`, by default in the cache."""
    return Path(os.environ.get(ROOT) or cache_root() / "baselines").absolute()


def environment_folder(method: Method) -> Path:
    """Return the folder of a method's environment, whether it exists or not."""
    return environments_root() / f"{method.id}-{environment_key(method)}"


def is_installed(method: Method) -> bool:
    """Return whether the environment that `install` makes is complete."""
    return not method.repo or (environment_folder(method) / MARKER).is_file()


def find_environment(method: Method, *, python: str | None = None, repo: Path | None = None) -> Environment:
    """Return a method's environment: the user's interpreter and repository, else the installed ones.

    An environment that is not installed is returned, too; `require_environment` raises.
    """
    folder = environment_folder(method)
    recorded = read_json(folder / MARKER).get("python") or [str(folder / "venv" / "bin" / "python")]
    default = recorded if method.repo else [sys.executable]
    own = os.path.abspath(shutil.which(python) or python) if python else ""  # jobs run in folders of their own
    return Environment(
        python=(own,) if own else tuple(default),
        repo=Path(repo).absolute() if repo else (folder / "repo" if method.repo else None),
        key=f"given-{sha256_bytes(own.encode())[:12]}" if own else environment_key(method),
        commit=checkout_commit(Path(repo)) if repo else method.commit,
    )


def checkout_commit(repo: Path) -> str:
    """Return the commit of a checkout, with `-dirty` if its files were changed; empty if it is no git repository."""
    command = ["git", "-C", repo, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    bounded = {**os.environ, "GIT_CEILING_DIRECTORIES": str(repo.resolve().parent)}  # not one that contains it
    try:
        return execute(command, "git describe", env=bounded).strip()
    except UserError:
        return ""


def require_environment(method: Method, *, python: str | None = None, repo: Path | None = None) -> Environment:
    """Return a method's environment.

    Raises:
        UserError: it is not installed, or the given interpreter or repository does not exist.
    """
    if python and not shutil.which(python):
        raise UserError(f"there is no interpreter {python}; give the path of one with --python")
    if repo and not Path(repo).is_dir():
        raise UserError(f"there is no repository {repo}; give the path of a checkout with --repo")
    if method.repo and not (python and repo) and not is_installed(method):
        raise UserError(
            f"{method.id} is not installed; run: baselines install {method.id}, or give --python and --repo"
        )
    return find_environment(method, python=python, repo=repo)


def install(method: Method, *, engine: str | None = None, repo_url: str | None = None) -> Path:
    """Make a method's environment and return its folder; nothing is done if it is complete.

    Args:
        engine: `uv`, `conda` or `docker`; None uses the first one that this machine has.
        repo_url: address of the repository, such as a local mirror.

    Raises:
        UserError: no engine is found, or a step fails.
    """
    from filelock import FileLock

    folder = environment_folder(method)
    if not method.repo:
        return folder
    chosen = engine or _first_engine()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if is_installed(method):
            return folder
        url = repo_url or method.repo
        _checkout(method, folder / "repo", str(Path(url).absolute()) if Path(url).is_dir() else url)
        make = {"uv": _make_with_uv, "conda": _make_with_conda, "docker": _make_with_docker}[chosen]
        python = make(method, folder)
        write_json(folder / MARKER, {"engine": chosen, "python": python, "commit": method.commit, "id": method.id})
    return folder


def _first_engine() -> str:
    for engine in ENGINES:
        if engine == "uv" and find_uv():
            return engine
        if shutil.which(engine):
            return engine
    raise UserError("neither uv, conda nor docker is found; install uv with: pip install 'exprbench[baselines]'")


def find_uv() -> str | None:
    """Return the path of uv: that of this Python's environment, else the first in PATH; None if there is none."""
    own = Path(sys.executable).with_name("uv")
    return str(own) if own.is_file() else shutil.which("uv")


def require_uv() -> str:
    """Return the path of uv, or raise UserError."""
    path = find_uv()
    if path is None:
        raise UserError("uv is missing; install it with: pip install 'exprbench[baselines]'")
    return path


def execute(command: Sequence[str | Path], what: str, **options: object) -> str:
    """Run a command and return its standard output.

    Raises:
        UserError: it cannot be started or fails; the message has the end of its standard error.
    """
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    except OSError as error:
        raise UserError(f"{what} failed: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"{what} failed: {' / '.join(line.strip() for line in lines[-4:])}")
    return done.stdout


def _checkout(method: Method, repo: Path, url: str) -> None:
    """Check out the commit, and apply the patches."""
    say(f"{method.id}: {url} at {method.commit[:10]}")
    shutil.rmtree(repo, ignore_errors=True)  # of an installation that was stopped
    repo.mkdir(parents=True)
    git = ["git", "-C", repo]
    execute([*git, "init", "--quiet"], "git init")
    execute([*git, "fetch", "--quiet", "--depth", "1", url, method.commit], f"git fetch of {method.commit[:10]}")
    execute([*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"], "git checkout")
    for patch in method.patches:
        execute([*git, "apply", "--unidiff-zero", patch], f"the patch {patch.name}")


def repo_problems(method: Method, repo: Path) -> list[str]:
    """Return how a repository differs from the commit and patches of the specification, one line each."""
    try:
        head = execute(["git", "-C", repo, "rev-parse", "HEAD"], "git rev-parse").strip()
        changed = execute(["git", "-C", repo, "status", "--porcelain", "--untracked-files=no"], "git status")
    except UserError as error:
        return [str(error)]
    problems = [] if head == method.commit else [f"is at {head[:10]}, not at {method.commit[:10]}"]
    if changed.strip() and not method.patches:
        problems.append(f"has changed files: {', '.join(line[3:] for line in changed.splitlines())}")
    return problems


def _require_lock(method: Method) -> Path:
    if not method.lock_path.is_file():
        raise UserError(f"{method.id} has no requirements.lock; make it with: baselines lock {method.id}")
    return method.lock_path


def _make_with_uv(method: Method, folder: Path) -> list[str]:
    uv, venv, lock = require_uv(), folder / "venv", _require_lock(method)
    python = venv / "bin" / "python"
    execute([uv, "venv", "--quiet", "--clear", "--python", method.python, venv], f"uv venv with Python {method.python}")
    execute([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock], "uv pip sync")
    add = [uv, "pip", "install", "--quiet", "--python", python]
    if method.build:
        execute([*add, *BUILD_TOOLS], "installing build tools")
    for package in method.build:
        execute([*add, "--no-build-isolation", package], f"building {package}")
    return [str(python)]


def _make_with_conda(method: Method, folder: Path) -> list[str]:
    venv, lock = folder / "venv", _require_lock(method)
    python = venv / "bin" / "python"
    execute(["conda", "create", "--yes", "--quiet", "--prefix", venv, f"python={method.python}", "pip"], "conda create")
    pip = [python, "-m", "pip", "install", "--quiet"]
    execute([*pip, "--no-deps", "--require-hashes", "--requirement", lock], "pip install")
    for package in method.build:
        execute([*pip, "--no-build-isolation", package], f"building {package}")
    return [str(python)]


def dockerfile(method: Method) -> str:
    """Return the text of a Dockerfile for a method's environment, made from its lock; the repository is mounted."""
    lines = [
        "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04",
        "ENV UV_LINK_MODE=copy PATH=/venv/bin:/root/.local/bin:$PATH",
        "RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates ffmpeg git libgl1 "
        "libglib2.0-0 python3-pip && rm -rf /var/lib/apt/lists/* && pip3 install uv",
        f"RUN uv venv --python {method.python} /venv",
        "COPY requirements.lock /requirements.lock",
        "RUN uv pip sync --require-hashes --python /venv/bin/python /requirements.lock",
    ]
    if method.build:
        lines.append("RUN uv pip install --python /venv/bin/python 'setuptools<81' wheel pip ninja")
    lines += [
        f"RUN uv pip install --no-build-isolation --python /venv/bin/python {json.dumps(p)}" for p in method.build
    ]
    return "\n".join(lines) + "\n"


def _make_with_docker(method: Method, folder: Path) -> list[str]:
    context = folder / "image"
    context.mkdir(exist_ok=True)
    write_text(context / "Dockerfile", dockerfile(method))
    shutil.copyfile(_require_lock(method), context / "requirements.lock")
    image = f"exprbench-{folder.name}"
    execute(["docker", "build", "--tag", image, context], "docker build")
    script = folder / "python"
    write_text(script, _docker_script(method, image, folder))
    script.chmod(0o755)
    return [str(script)]


def _docker_script(method: Method, image: str, folder: Path) -> str:
    """Return a shell script that runs Python in the image, with the job's folder, its device and its variables."""
    job = '"$(dirname "$PWD")"'
    variables = " ".join(f"--env {name}" for name in dict.fromkeys([*PASSED_ON, *method.env]))

    def volume(path: Path) -> str:
        return f"--volume {shlex.quote(f'{path}:{path}')}"

    return (
        "#!/bin/sh\n"
        'exec docker run --rm --init --user "$(id -u):$(id -g)" \\\n'
        '  ${CUDA_VISIBLE_DEVICES:+--gpus "device=$CUDA_VISIBLE_DEVICES"} --ipc host \\\n'
        f'  {volume(folder)} {volume(method.folder)}:ro --volume {job}:{job} --workdir "$PWD" \\\n'
        f'  {variables} --env HOME=/tmp {image} python "$@"\n'
    )


def lock_command(method: Method, out: Path) -> list[str]:
    """Return the uv command that resolves a method's requirements into a lock with hashes."""
    options = ["--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--no-emit-index-url"]
    date = ["--exclude-newer", method.exclude_newer] if method.exclude_newer else []
    target = ["--python-version", method.python, "--python-platform", PLATFORM, "--output-file", str(out)]
    return [require_uv(), "pip", "compile", str(method.folder / "requirements.txt"), *options, *date, *target]


def lock(method: Method, *, check: bool = False) -> bool:
    """Resolve a method's requirements and write its lock; return whether the lock was up to date.

    Args:
        check: write nothing.

    Raises:
        UserError: the requirements cannot be resolved, or the method has none.
    """
    import tempfile

    if not (method.folder / "requirements.txt").is_file():
        raise UserError(f"{method.id} has no requirements.txt; nothing to lock")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "requirements.lock"
        execute(lock_command(method, out), f"resolving the requirements of {method.id}")
        text = out.read_text(encoding="utf-8")
    is_current = method.lock_path.is_file() and method.lock_path.read_text(encoding="utf-8") == text
    if not is_current and not check:
        write_text(method.lock_path, text)
    return is_current
