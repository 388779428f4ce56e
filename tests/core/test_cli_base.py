"""What the four command lines share."""

import errno
import subprocess
import sys
from argparse import ArgumentTypeError

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
        (OSError(errno.EROFS, "Read-only file system"), "error: Read-only file system"),
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


def test_no_adapter_is_claimed(capsys):
    from baselines.cli import main

    assert main([]) == 2
    assert "no baseline has an adapter yet" in capsys.readouterr().err
