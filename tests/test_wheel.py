"""The wheel in an environment of its own, outside the checkout: package data is in it, and the demo runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("exprbench", "multiexpr", "baselines", "fantasyportrait")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools leaves files behind, and takes up those of an earlier build
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An environment that holds the wheel, and sees the libraries of this one but not its editable install."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel],
        check=True, capture_output=True, env=ENVIRONMENT,
    )  # fmt: skip
    query = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python, "-c", query], check=True, capture_output=True, text=True, env=ENVIRONMENT)
    site = site.stdout.strip()
    (Path(site) / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])  # nested .pth files are not followed
    return python


def run(python, *words, cwd):
    return subprocess.run([python, *words], capture_output=True, text=True, cwd=cwd, check=False, env=ENVIRONMENT)


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    tracked = subprocess.run(["git", "ls-files", *tops], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    missing = {name for name in tracked.split() if not name.startswith("baselines/methods")} - set(names)
    assert missing == set()


def test_every_command_answers_outside_the_checkout(python, tmp_path):
    for command in ("exprbench", "multiexpr", "baselines", "fantasyportrait"):
        shown = run(python.with_name(command), "--help", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert f"usage: {command}" in shown.stdout
    where = run(python, "-c", "import exprbench; print(exprbench.__file__)", cwd=tmp_path).stdout
    assert str(ROOT) not in where


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel(python, tmp_path):
    shown = run(python.with_name("exprbench"), "demo", "--out", tmp_path / "demo", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "| Single  | perfect" in shown.stdout
    assert len(list((tmp_path / "demo" / "records").glob("*.json"))) == 6
