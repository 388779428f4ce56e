"""`doctor`: what is in order, what is missing, and what the method's own parser says."""

import hashlib
import shutil
import sys

import pytest

from baselines.cli import main
from baselines.doctor import examine, locked, script_of
from baselines.gpus import gpu_name, total_memory_bytes, used_memory_bytes
from baselines.spec import find_method, load_method
from tests.baselines.bench import repository

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SMI = """#!/bin/sh
test "$2" = 0 || exit 6
case "$3" in *name*) echo "Some GPU";; *total*) echo 24576;; *) echo 512;; esac
"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A machine with one GPU of 24 GiB, according to `nvidia-smi`."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "nvidia-smi"
    path.write_text(SMI)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")


def checks_of(name, tmp_path, **options):
    repo = repository(name, tmp_path / "repo")
    found = examine(find_method(name), python=sys.executable, repo=repo, gpus=["0"], **options)
    return {check.name: check for check in found}, repo


def test_memory_and_name_of_a_gpu_are_read(smi):
    assert (total_memory_bytes("0"), used_memory_bytes("0"), gpu_name("0")) == (24 << 30, 512 << 20, "Some GPU")
    assert (total_memory_bytes("7"), used_memory_bytes("7"), gpu_name("7"), gpu_name("")) == (0, 0, "", "")


def test_the_double_of_hunyuanportrait(tmp_path, smi):
    checks, _ = checks_of("hunyuanportrait", tmp_path)
    assert checks["environment"].status == "ok"
    assert checks["repository"].status == "failed"  # the double is no git repository
    assert checks["interpreter"].detail.startswith(f"Python {VERSION}.")
    assert checks["packages"].status == "warning"
    assert "differ from the lock" in checks["packages"].detail
    missing = checks["weights pretrained_weights/arcface.onnx"]
    assert (missing.status, missing.detail.startswith("missing; get it from https://")) == ("failed", True)
    assert (checks["GPU 0"].status, checks["GPU 0"].detail) == ("ok", "24.0 GiB; the method needs 24")
    accepted = checks["arguments of inference.py (single)"]
    assert (accepted.status, accepted.detail) == ("ok", "accepted by its parser, after its imports")


def test_a_gpu_that_is_too_small(tmp_path, smi):
    checks, _ = checks_of("x-portrait", tmp_path)
    assert (checks["GPU 0"].status, checks["GPU 0"].detail) == ("failed", "has 24.0 GiB; the method needs 58")
    assert checks["arguments of core/test_xportrait.py (single)"].status == "ok"


def test_both_processes_behind_a_launcher_and_both_kinds(tmp_path, smi):
    checks, _ = checks_of("follow-your-emoji", tmp_path)
    assert checks["arguments of infer.py (single)"].status == "ok"
    checks, _ = checks_of("fantasyportrait-official", tmp_path / "official")
    assert checks["arguments of infer.py (single)"].status == "ok"
    assert checks["arguments of infer_multi.py (multi)"].status == "ok"


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ('"--config",', '"--configuration",', "not accepted: status 2, inference.py: error: the following"),
        ('"--image_path"', '"--picture"', "its parser does not know --image_path"),
        ("import yaml", "import a_missing_package", "No module named 'a_missing_package'"),
        ("args = parser.parse_args()", "sys.exit(4)", "NameError: name 'sys' is not defined"),
    ],
)
def test_what_the_parser_refuses_is_named(before, after, detail, tmp_path, smi):
    repo = repository("hunyuanportrait", tmp_path / "repo")
    text = (repo / "inference.py").read_text()
    text = text.replace(before, after)
    (repo / "inference.py").write_text(text.replace('default="./config/hunyuan-portrait.yaml"', "required=True"))
    found = examine(find_method("hunyuanportrait"), python=sys.executable, repo=repo, gpus=["0"])
    check = {check.name: check for check in found}["arguments of inference.py (single)"]
    assert check.status == "failed"
    assert detail in check.detail


def test_a_model_file_with_another_hash(tmp_path, smi):
    folder = tmp_path / "methods" / "x-portrait"
    shutil.copytree(find_method("x-portrait").folder, folder)
    text = (folder / "method.toml").read_text()
    path = 'path = "checkpoint/model_state-415001.th"'
    (folder / "method.toml").write_text(text.replace(path, f'{path}\nsha256 = "{"0" * 64}"'))
    repo = repository("x-portrait", tmp_path / "repo")
    (repo / "checkpoint").mkdir()
    (repo / "checkpoint" / "model_state-415001.th").write_bytes(b"weights")
    found = examine(load_method(folder), python=sys.executable, repo=repo, gpus=["0"])
    check = {check.name: check for check in found}["weights checkpoint/model_state-415001.th"]
    assert check.status == "failed"
    digest = hashlib.sha256(b"weights").hexdigest()
    assert check.detail.startswith(f"has sha256 {digest}; expected {'0' * 64}; get it from https://")


def test_what_is_not_installed_has_a_remedy_and_status_3(smi, capsys):
    assert main(["doctor", "liveportrait"]) == 3
    out = capsys.readouterr().out
    assert out.startswith("failed   environment")
    assert "interpreter" not in out  # the remedy is the same
    assert "repository" not in out
    assert "not installed; run: baselines install liveportrait" in out


def test_an_option_that_is_missing_is_named_instead_of_checked(tmp_path):
    found = examine(find_method("fantasyportrait"), gpus=[""])
    checks = {check.name: check for check in found}
    assert checks["weights {model}"].status == "warning"
    assert checks["arguments"].detail == "not checked: fantasyportrait needs --set model=VALUE"
    assert checks["GPU"].status == "warning"


def test_pins_of_a_lock_and_the_script_behind_a_launcher():
    assert locked("a-b==1.0 \\\n    --hash=x\nc[d]==2 ; python_version < '4'\n") == [("a-b", "1.0"), ("c", "2")]
    assert script_of(["-m", "torch.distributed.run", "--nnodes", "1", "infer.py", "--x"]) == ([], ["infer.py", "--x"])
    assert script_of(["-m", "scripts.vid2vid", "--x"]) == ([], ["-m", "scripts.vid2vid", "--x"])
    assert script_of(["-u", "-W", "ignore", "infer.py", "-u"]) == (["-u", "-W", "ignore"], ["infer.py", "-u"])


@pytest.mark.parametrize(
    ("start", "status", "detail"),
    [
        ('"{python}", "-u", "inference.py"', "ok", "accepted by its parser, after its imports"),
        ('"bash", "inference.sh"', "warning", "not checked: it is not started by {python}"),
    ],
)
def test_a_script_can_be_started_in_other_ways(start, status, detail, tmp_path, smi):
    folder = tmp_path / "methods" / "hunyuanportrait"
    shutil.copytree(find_method("hunyuanportrait").folder, folder)
    text = (folder / "method.toml").read_text()
    (folder / "method.toml").write_text(text.replace('"{python}", "inference.py"', start))
    repo = repository("hunyuanportrait", tmp_path / "repo")
    check = list(examine(load_method(folder), python=sys.executable, repo=repo, gpus=["0"]))[-1]
    assert (check.status, check.detail) == (status, detail)
