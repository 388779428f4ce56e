"""conda and docker: doubles of the two commands record what they are asked to do, and run this interpreter instead."""

import json
import shutil
import sys

import pytest

from baselines.method_environment import ENGINES, environment_folder, find_environment, install, is_installed
from baselines.run_record import load_run
from baselines.runner import RunSettings, run_method
from baselines.spec import load_method
from exprbench.core.errors import UserError
from tests.baselines.leaderboard import double_method

COMMAND = """#!{python}
import json, os, pathlib, sys
words = sys.argv[1:]
with open("{log}", "a") as file:
    print(json.dumps(["{name}", *words]), file=file)
{body}
"""
CONDA = """
python = pathlib.Path(words[words.index("--prefix") + 1]) / "bin" / "python"
python.parent.mkdir(parents=True)
python.write_text(open("{pip}").read())
python.chmod(0o755)
"""
PIP = """
if words[:2] != ["-m", "pip"]:
    os.execv("{python}", ["{python}", *words])
"""
DOCKER = """
if words[0] == "run":
    start = next(i for i, word in enumerate(words) if word.startswith("exprbench-"))
    assert words[words.index("--workdir") + 1] == os.getcwd()
    os.execv("{python}", ["{python}", *words[start + 2 :]])
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with doubles of conda and docker, and no uv; `machine()` returns the recorded commands."""
    log, folder = tmp_path / "commands", tmp_path / "bin"
    folder.mkdir()
    parts = {"python": sys.executable, "log": log, "pip": folder / "pip"}
    for name, body in (("conda", CONDA), ("pip", PIP), ("docker", DOCKER)):
        text = COMMAND.format(name=name, body=body.format(**parts), **{k: parts[k] for k in ("python", "log")})
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr("baselines.method_environment.find_uv", lambda: None)
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def method(tmp_path):
    method, upstream = double_method("follow-your-emoji", tmp_path / "doubles")
    method.lock_path.write_text("numpy==2.0.0 --hash=sha256:0\n")
    return load_method(method.folder), upstream


def run(method, bench, out):
    result = run_method(
        method, benchmark=bench.root, out=out, settings=RunSettings(gpus=("",), track="self", attempts=1)
    )
    assert result.failed == {}
    return load_run(out, "single-self-0001")


def test_conda_makes_an_environment_from_the_lock(machine, method, square_bench, tmp_path, no_models, monkeypatch):
    method, upstream = method
    monkeypatch.chdir(upstream.parent)
    folder = install(method, repo_url=upstream.name)  # the first engine that there is
    venv, lock = str(folder / "venv"), str(method.lock_path)
    python = f"python={method.python}"
    assert machine() == [
        ["conda", "create", "--yes", "--quiet", "--prefix", venv, python, "pip"],
        ["pip", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", lock],
    ]
    assert json.loads((folder / "installed.json").read_text())["engine"] == "conda"
    assert find_environment(method).python == (f"{venv}/bin/python",)
    assert run(method, square_bench, tmp_path / "out").status == "ok"


def test_docker_builds_an_image_from_the_lock_and_runs_in_it(
    machine, method, square_bench, tmp_path, no_models, monkeypatch
):
    method, upstream = method
    monkeypatch.setenv("EXPRBENCH_BASELINES", str(tmp_path / "two words"))
    folder = install(method, engine="docker", repo_url=str(upstream))
    image = f"exprbench-{folder.name}"
    assert machine() == [["docker", "build", "--tag", image, str(folder / "image")]]
    assert (folder / "image" / "requirements.lock").read_text() == method.lock_path.read_text()
    assert f"uv venv --python {method.python} /venv" in (folder / "image" / "Dockerfile").read_text()
    assert run(method, square_bench, tmp_path / "out").status == "ok"
    words = machine()[1]
    assert words[:4] == ["docker", "run", "--rm", "--init"]
    assert "--gpus" not in words
    assert [words[i + 1] for i, word in enumerate(words) if word == "--env"] == [
        *("PYTHONDONTWRITEBYTECODE", "MPLBACKEND", "TMPDIR", "PYTHONPATH"),  # the last one is of this method
        "HOME=/tmp",
    ]
    job = str(tmp_path / "out" / "jobs" / "single-self-0001")
    for volume in (f"{folder}:{folder}", f"{method.folder}:{method.folder}:ro", f"{job}:{job}"):
        assert volume in words
    assert words[words.index(image) + 1 :][:2] == ["python", f"{method.folder}/make_template.py"]


PATCH = """--- a/infer.py
+++ b/infer.py
@@ -1 +1,2 @@
+# patched
 import argparse
"""


def test_patches_are_applied_to_the_checkout_and_are_part_of_the_key(machine, method, tmp_path):
    method, upstream = method
    before = environment_folder(method)
    (method.folder / "patches").mkdir()
    (method.folder / "patches" / "1.diff").write_text(PATCH)
    folder = install(method, engine="conda", repo_url=str(upstream))
    assert folder != before
    assert (folder / "repo" / "infer.py").read_text().startswith("# patched\nimport argparse\n")
    (method.folder / "patches" / "2.diff").write_text(PATCH.replace("infer.py", "missing.py"))
    with pytest.raises(UserError, match=r"the patch 2\.diff failed: error: missing\.py"):
        install(method, engine="conda", repo_url=str(upstream))
    assert not is_installed(method)


def test_a_step_that_fails_leaves_no_environment(machine, method, tmp_path):
    method, upstream = method
    (tmp_path / "bin" / "conda").write_text("#!/bin/sh\necho 'no such channel' >&2\nexit 1\n")
    with pytest.raises(UserError, match="conda create failed: no such channel"):
        install(method, engine="conda", repo_url=str(upstream))
    assert not is_installed(method)
    shutil.rmtree(tmp_path / "bin")
    with pytest.raises(UserError, match="neither uv, conda nor docker is found"):
        install(method, repo_url=str(upstream))
    assert environment_folder(method).name.startswith("follow-your-emoji-")
    assert ENGINES == ("uv", "conda", "docker")
