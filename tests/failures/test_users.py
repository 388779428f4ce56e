"""Users without a home, a name or a UTF-8 terminal, and scripts as people write them: success, or one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.failures.runs import LIMIT_S

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "results" / "records" / "demo-jittery.json"
NO_ENTRY = """
import pwd
def unknown(who):
    raise KeyError(f"no entry for {who}")
pwd.getpwuid = pwd.getpwnam = unknown
"""
NAMES = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "EXPRBENCH_CACHE")


def command(*words, module="exprbench.cli", **options):
    line = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(line, capture_output=True, timeout=LIMIT_S, check=False, cwd=ROOT, **options)


@pytest.fixture
def without_entry(tmp_path):
    """Return the environment of a user without an entry in the password database and without a home folder."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_ENTRY)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return {**{k: v for k, v in os.environ.items() if k not in NAMES}, "PYTHONPATH": path}


def score_words(scoring):
    words = ["score", "--benchmark", scoring.bench, "--predictions", scoring.predictions, "--method", "m"]
    return [*words, "--out", scoring.out, "--metrics", "psnr,lmd", "--workers", 1]


def test_a_user_without_an_entry_scores(scoring, without_entry, tmp_path):
    done = command(*score_words(scoring), env={**without_entry, "EXPRBENCH_CACHE": str(tmp_path / "c")})
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert scoring.out.exists()


def test_a_user_without_a_home_is_asked_for_a_cache(scoring, without_entry):
    done = command(*score_words(scoring), env=without_entry)
    assert done.returncode == 2
    line = b"error: there is no home folder for the cache; set EXPRBENCH_CACHE to a writable folder\n"
    assert done.stderr.splitlines(keepends=True)[-1] == line
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["table", RECORD], ["--help"], ["weights", "list"]])
def test_what_needs_no_cache_works_without_a_home(without_entry, words, tmp_path):
    env = {**without_entry, "EXPRBENCH_CACHE": str(tmp_path / "c")} if "weights" in words else without_entry
    assert command(*words, env=env).returncode == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "no_SUCH.locale"},
        {"LC_ALL": "tr_TR.UTF-8"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_any_locale_scores_and_prints(scoring, settings):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    done = command(*score_words(scoring), env=env)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"PSNR" in done.stdout
    printed = command("table", RECORD, env=env)
    assert printed.returncode == 0
    assert b"jittery" in printed.stdout


@pytest.mark.parametrize("verb", ["score", "build"])
def test_a_script_without_a_main_guard_works(scoring, bench, tmp_path, verb):
    """Workers do not run the script again, which would print more lines and write the output twice."""
    calls = {
        "score": f"exprbench.score(benchmark={str(scoring.bench)!r}, predictions={str(scoring.predictions)!r}, "
        f"method='m', out={str(scoring.out)!r}, metrics=['psnr', 'lmd'], workers=2)",
        "build": f"exprbench.build(portraits={str(bench.root.parent / 'portraits')!r}, "
        f"driving={str(bench.root.parent / 'driving')!r}, out={str(tmp_path / 'bench')!r}, workers=2)",
    }
    (tmp_path / "script.py").write_text(f"print('started')\nimport exprbench\n{calls[verb]}\nprint('done')\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "started\ndone\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_the_demo(tmp_path):
    (tmp_path / "script.py").write_text(
        "print('started')\nimport exprbench\n"
        f"print(len(exprbench.demo({str(tmp_path / 'demo')!r}, workers=2).records))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S * 5, check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "started\n6\n"), done.stderr


@pytest.mark.parametrize("module", ["exprbench.cli", "multiexpr.cli", "fantasyportrait.cli", "baselines.cli"])
def test_a_full_disk_on_standard_output_is_one_line(module):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "wb") as full:
        program = f"import sys; from {module} import main; sys.argv[1:] = ['--help']; sys.exit(main())"
        line = [sys.executable, "-c", program]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, check=False, cwd=ROOT, env=env)
    assert (done.returncode, done.stderr) == (2, b"error: No space left on device\n")
