"""Locks and environments, with uv and the package index."""

import subprocess
import sys

import pytest

from baselines.method_environment import (
    dockerfile,
    environment_folder,
    find_environment,
    find_uv,
    install,
    is_installed,
    lock,
    repo_problems,
)
from baselines.run_record import load_run
from baselines.runner import RunSettings, run_method
from baselines.spec import find_method, load_method, method_folders
from exprbench.core.errors import UserError
from tests.baselines.bench import repository

LOCKED = [name for name, folder in method_folders().items() if (folder / "requirements.txt").is_file()]


@pytest.fixture
def uv():
    if find_uv() is None:
        pytest.skip("needs uv (pip install 'exprbench[baselines]')")


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCKED)
def test_the_lock_is_what_the_requirements_resolve_to(name, uv):
    assert lock(find_method(name), check=True)


@pytest.mark.parametrize("name", LOCKED)
def test_a_lock_has_hashes_and_no_address(name):
    text = find_method(name).lock_path.read_text()
    pins = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("--hash")]
    assert len(pins) > 10
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def method(tmp_path):
    """The double of X-Portrait in a git repository, and its method with the requirements of doubles."""
    repo = repository("x-portrait", tmp_path / "upstream")
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "double")
    real = (find_method("x-portrait").folder / "method.toml").read_text()
    real = real.replace(find_method("x-portrait").commit, git(repo, "rev-parse", "HEAD"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    real = real.replace('python = "3.9"', f'python = "{version}"').replace('"2025-08-15"', '"2026-01-01"')
    folder = tmp_path / "methods" / "x-portrait"
    folder.mkdir(parents=True)
    (folder / "method.toml").write_text(real)
    (folder / "requirements.txt").write_text("av\nnumpy\nopencv-python-headless\n")
    return load_method(folder), repo


@pytest.mark.slow
def test_a_double_is_installed_by_uv_and_runs_in_its_own_environment(method, uv, square_bench, tmp_path, no_models):
    method, upstream = method
    with pytest.raises(UserError, match=r"has no requirements.lock; make it with: baselines lock x-portrait"):
        install(method, engine="uv", repo_url=str(upstream))
    assert not lock(method)
    assert lock(method, check=True)
    folder = install(method, engine="uv", repo_url=str(upstream))
    assert folder == environment_folder(method)
    assert is_installed(method)
    assert install(method) == folder  # nothing to do
    environment = find_environment(method)
    assert repo_problems(method, environment.repo) == []
    assert environment.python[0] == str(folder / "venv/bin/python")
    result = run_method(
        method, benchmark=square_bench.root, out=tmp_path / "out", settings=RunSettings(gpus=("",), track="self")
    )
    assert result.failed == {}
    assert load_run(tmp_path / "out", "single-self-0001").normalization["coverage"] == 1.0
    (environment.repo / "core/test_xportrait.py").write_text("changed")
    assert repo_problems(method, environment.repo) == ["has changed files: core/test_xportrait.py"]


def test_another_lock_gives_another_folder(method):
    method, _ = method
    (method.folder / "requirements.lock").write_text("a==1\n")
    first = environment_folder(method)
    (method.folder / "requirements.lock").write_text("a==2\n")
    assert environment_folder(method) != first


def test_the_image_is_made_from_the_lock():
    text = dockerfile(find_method("fantasyportrait-official"))
    assert "uv pip sync --require-hashes --python /venv/bin/python /requirements.lock" in text
    assert 'uv pip install --no-build-isolation --python /venv/bin/python "flash-attn==2.8.2"' in text
