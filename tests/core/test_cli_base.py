"""What the four command lines share."""

import errno
import os
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path

import pytest

from exprbench.core.cli_base import Parser, run, shard
from exprbench.core.errors import UserError

HEAVY = ("torch", "mediapipe", "ultralytics", "cv2", "av", "diffusers", "transformers", "ray", "pandas", "pyarrow")


def status(handler, argv=()):
    parser = Parser(prog="thing")
    parser.set_defaults(handler=handler)
    return run(parser, list(argv))


def failing(error):
    def handler(_):
        raise error

    return handler


def test_a_verb_that_returns_nothing_is_done():
    assert status(lambda _: None) == 0
    assert status(lambda _: 3) == 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such clip a.mp4; give one"), "error: no such clip a.mp4; give one"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), "error: No space left on device: out/x"),
        (OSError(errno.ENOSPC, "Error writing bytes", "out/x"), "error: No space left on device: out/x"),
        (OSError(errno.EROFS, "Read-only file system"), "error: Read-only file system"),
        (OSError(errno.ENOTDIR, "Not a directory", "a.txt/x"), "error: Not a directory: a.txt/x"),
    ],
)
def test_mistakes_and_full_disks_are_one_line(error, line, capsys):
    assert status(failing(error)) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_ctrl_c_says_how_to_go_on(capsys):
    assert status(failing(KeyboardInterrupt())) == 130
    assert "resumes" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.ENOENT, "gone", "x")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        status(failing(error))


def test_a_closed_output_pipe_is_not_an_error():
    """As with `exprbench cases bench | head -1`."""
    program = (
        "import sys\nfrom exprbench.core.cli_base import Parser, run\nparser = Parser(prog='thing')\n"
        "parser.set_defaults(handler=lambda _: [print('line', i, flush=True) for i in range(10**6)] and 0)\n"
        "sys.exit(run(parser, []))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


def test_without_a_verb_the_help_is_shown(capsys):
    assert run(Parser(prog="thing", examples="  thing do"), []) == 0
    assert capsys.readouterr().out.startswith("usage: thing")


def test_flags_cannot_be_abbreviated(capsys):
    parser = Parser(prog="thing")
    parser.add_argument("--seed", type=int)
    with pytest.raises(SystemExit) as stop:
        run(parser, ["--see", "3"])
    assert stop.value.code == 2


def test_an_unknown_flag_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        status(lambda _: None, ["--wrong"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines() == ["error: unrecognized arguments: --wrong (see thing --help)"]


def test_shards_are_counted_from_one():
    assert shard("1/1") == (1, 1)
    assert shard("8/8") == (8, 8)
    for text in ("0/4", "5/4", "1", "a/b", "-1/4", "1/2/3", ""):
        with pytest.raises(ArgumentTypeError, match="expected I/N"):
            shard(text)


@pytest.mark.parametrize("command", ["exprbench", "multiexpr", "baselines", "fantasyportrait"])
def test_help_loads_nothing_heavy(command):
    program = (
        f"import sys; sys.argv = ['x', '--help']\nfrom {command}.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.startswith(("usage: ", "Usage: "))
    assert told.endswith("heavy: []\n")


PROGRAM = """
import os, signal, sys, tempfile, threading, time
from pathlib import Path
from exprbench.core.cli_base import Parser, run
from exprbench.core.files import atomic_path

def write(args):
    with atomic_path(Path(sys.argv[2]) / "out.txt") as path:
        path.write_text("half")
        print("ready", flush=True)
        time.sleep(600)

def loud(args):
    for i in range(100_000):
        print(i)

def quiet(args):
    print("a few words \\u2020 \\u00e9 " + os.fsdecode(b"\\xff"))

def pipe(args):
    raise BrokenPipeError(32, "Broken pipe")

parser = Parser(prog="thing")
parser.set_defaults(handler=globals()[sys.argv[1]])
sys.exit(run(parser, sys.argv[3:]))
"""


def program(verb, folder=".", *more, **options):
    line = [sys.executable, "-c", PROGRAM, verb, str(folder), *more]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **options.pop("env", {})}
    return subprocess.Popen(line, env=env, **options)


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_leaves_no_temporary_file(tmp_path, number, status):
    # nohup and background jobs of a shell ignore some signals, which processes inherit
    reset = partial(signal.signal, getattr(signal, number), signal.SIG_DFL)
    process = program("write", tmp_path, preexec_fn=reset)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, number))
    _, said = process.communicate()
    assert process.returncode == status
    how = "stopped" if number == "SIGINT" else f"stopped by {number}"
    assert said.decode() == f"{how}; the same command resumes from here\n"
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_ignores_the_hangup_goes_on_ignoring_it(tmp_path):
    process = program("write", tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143


@pytest.mark.parametrize("verb", ["loud", "quiet"])
@pytest.mark.parametrize("more", [[], ["--help"]])
def test_a_full_disk_on_standard_output_is_one_line(verb, more):
    with open("/dev/full", "w") as full:
        process = program(verb, ".", *more, stdout=full)
        _, said = process.communicate()
    assert (process.returncode, said.decode()) == (2, "error: No space left on device\n")


@pytest.mark.parametrize("more", [[], ["--help"]])
@pytest.mark.parametrize("verb", ["loud", "quiet"])
def test_a_reader_that_has_ended_is_no_error(verb, more):
    read, write = os.pipe()
    os.close(read)
    process = program(verb, ".", *more, stdout=write)
    os.close(write)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_a_broken_pipe_inside_is_a_bug():
    process = program("pipe")
    assert b"BrokenPipeError" in process.communicate()[1]
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "a few words \u2020 \u00e9 \\udcff\n"),
        ("latin-1", "a few words \\u2020 \u00e9 \\udcff\n"),
        ("ascii", "a few words \\u2020 \\xe9 \\udcff\n"),
        ("", "a few words \\u2020 \\xe9 \\udcff\n"),
    ],
)
def test_a_terminal_without_a_character_shows_its_escape(encoding, shown):
    env = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    process = program("quiet", env=env)
    said, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert said.decode(encoding or "utf-8") == shown


def test_closed_streams_are_no_error():
    line = f'"{sys.executable}" -c "$0" quiet . >&- 2>&-'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(["sh", "-c", line, PROGRAM], env=env, check=False).returncode == 0
