"""The README's snippets, saved to a file, run."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exprbench import cli
from tests.scoring.conftest import bench, cache_of_this_test, method  # noqa: F401

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(method, tmp_path, monkeypatch):  # noqa: F811
    """A current folder with everything that the snippets name: `bench`, `out/mine`, `other.json` and a pair.

    The videos of `liveportrait` are those of `mine`.
    """
    here = tmp_path / "here"
    shutil.copytree(method.bench.root, here / "bench")
    shutil.copytree(method.folder, here / "out" / "mine")
    shutil.copytree(method.folder, here / "out" / "liveportrait")
    shutil.copyfile(method.path("single-self-0001"), here / "generated.mp4")
    shutil.copyfile(method.path("single-self-0002"), here / "driving.mp4")
    method.score(metrics=None, method="other", out=here / "other.json", floors=False)
    monkeypatch.chdir(here)
    return here


def test_the_python_snippet_runs(folder):
    (snippet,) = [block for block in blocks("python") if "exprbench.score(" in block]
    (folder / "snippet.py").write_text(snippet, encoding="utf-8")
    done = subprocess.run([sys.executable, "snippet.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Aggregate(value=0.0")
    assert "| Single  | mine" in done.stdout
    assert "| Single  | other" in done.stdout


def test_the_commands_of_scoring_run(folder, capsys):
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("exprbench ")]
    commands = [shlex.split(line, comments=True)[1:] for line in lines]
    known = [words for words in commands if words[0] in ("pair", "cases", "score", "table", "report")]
    assert [words[0] for words in known] == ["pair", "cases", "score", "table", "score", "report"]
    for words in known:
        assert cli.main([*words, "--metrics", "psnr"] if words[0] == "pair" else words) == 0, words
    assert "| Single  | mine" in capsys.readouterr().out
    case = (folder / "report" / "cases" / "single-self-0001.js").read_text(encoding="utf-8")
    assert '"name":"mine"' in case
    assert "no folder of videos" not in case
