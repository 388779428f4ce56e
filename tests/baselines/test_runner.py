"""The runner with a toy method: failures, retries, resuming, locks, and nothing left running."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from baselines.cli import main
from baselines.gpus import busy_gpus, hold_gpu
from baselines.job_folders import job_root
from baselines.method_environment import environment_key, find_environment
from baselines.run_record import load_run
from baselines.runner import RunSettings, dry_run, run_method
from baselines.spec import find_method
from exprbench.core.child_process import PARENT
from exprbench.core.errors import UserError
from exprbench.core.files import sha256_bytes
from tests.baselines.bench import frames_of, hashes
from tests.baselines.leaderboard import double_method
from tests.baselines.toy import write_toy
from tests.videos import number_of

HERE = Path(__file__).parents[2]


@pytest.fixture
def toy(tmp_path, no_models):
    return write_toy(tmp_path / "methods" / "toy")


@pytest.fixture
def make(toy, square_bench, tmp_path):
    """`make(habit)` runs the self case of the benchmark, and returns the result and its record."""

    def run(habit="good", **options):
        given = {"minutes": 1.0, "attempts": 1, "gpus": ("",), "track": "self", **options}
        given["options"] = {"habit": habit, "mark": given.pop("mark", str(tmp_path / "mark"))}
        settings = RunSettings(**given)
        result = run_method(str(toy), benchmark=square_bench.root, out=tmp_path / "out", settings=settings)
        return result, load_run(tmp_path / "out", "single-self-0001")

    return run


def test_a_good_method_gives_a_prediction_and_a_record(make, tmp_path, square_bench):
    before = hashes(square_bench.root)
    result, record = make()
    assert (result.made, result.skipped, result.failed) == (("single-self-0001",), (), {})
    made = frames_of(tmp_path / "out/single-self-0001.mp4")
    assert [number_of(frame) for frame in made] == list(range(30))
    assert record.seconds > 0
    assert record.attempts[0].exit_statuses == (0,)
    assert record.normalization["coverage"] == 1.0
    assert not record.normalization["faces_checked"]
    assert hashes(square_bench.root) == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["logs", "runs", "single-self-0001.mp4"]


@pytest.mark.parametrize(
    ("habit", "code"),
    [
        ("crash", "crash"),
        pytest.param("hang", "timeout", marks=pytest.mark.slow),
        pytest.param("out of memory", "out_of_memory", marks=pytest.mark.slow),
        pytest.param("no face", "no_face", marks=pytest.mark.slow),
        pytest.param("no output", "no_output", marks=pytest.mark.slow),
        pytest.param("partial", "truncated", marks=pytest.mark.slow),
        pytest.param("two outputs", "ambiguous_output", marks=pytest.mark.slow),
    ],
)
def test_a_failure_has_a_code_and_is_retried_only_if_that_can_help(make, habit, code, tmp_path):
    minutes = 2 / 60 if habit == "hang" else 1.0
    result, record = make(habit, attempts=2, minutes=minutes)
    assert list(result.failed) == ["single-self-0001"]
    assert (record.status, record.code) == ("failed", code)
    assert len(record.attempts) == (2 if code in ("crash", "timeout", "out_of_memory") else 1)
    assert not (tmp_path / "out/single-self-0001.mp4").exists()
    assert (tmp_path / "out/logs/single-self-0001-1.txt").is_file()


def test_a_crash_is_retried_and_the_failed_exit_after_a_good_output_is_accepted(make, tmp_path):
    _, record = make("crash once", attempts=2)
    assert [attempt.code for attempt in record.attempts] == ["crash", ""]
    _, record = make("fails after", overwrite=True)
    assert (record.status, record.attempts[0].exit_statuses) == ("ok", (3,))


def test_a_child_that_outlives_its_method_is_ended(make, tmp_path):
    _, record = make("child")
    assert record.status == "ok"
    assert not psutil.pid_exists(int((tmp_path / "mark").read_text()))


def test_a_second_run_skips_what_is_done_and_refuses_other_settings(make, tmp_path):
    make()
    result, _ = make()
    assert (result.made, result.skipped) == ((), ("single-self-0001",))
    with pytest.raises(UserError, match="holds single-self-0001 of other settings"):
        make("fails after")
    with pytest.raises(UserError, match="holds single-self-0001 of other settings"):
        make(seed=3)
    (tmp_path / "out/single-self-0001.mp4").write_bytes(b"changed")
    assert make()[0].made == ("single-self-0001",)


def run_in_background(toy, bench, out, mark):
    command = [sys.executable, "-m", "baselines", "run", str(toy), "--benchmark", str(bench.root), "--out", str(out)]
    options = ["--gpus", "none", "--track", "self", "--set", "habit=wait for mark", "--set", f"mark={mark}"]
    process = subprocess.Popen([*command, *options], cwd=HERE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    started = Path(f"{mark}.started")
    while not (started.is_file() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    return process, int(started.read_text())


@pytest.mark.parametrize(
    "victim", ["runner", *(pytest.param(name, marks=pytest.mark.slow) for name in ("method", "supervisor"))]
)
def test_after_kill_9_nothing_runs_on_and_the_same_command_completes(toy, square_bench, tmp_path, victim):
    out, mark = tmp_path / "out", tmp_path / "mark"
    process, method_pid = run_in_background(toy, square_bench, out, mark)
    if victim == "runner":
        process.kill()
        process.wait()
        while psutil.pid_exists(method_pid):  # ended by its supervisor
            time.sleep(0.05)
        assert load_run(out, "single-self-0001") is None
        Path(f"{mark}.started").unlink()
        process, method_pid = run_in_background(toy, square_bench, out, mark)
    else:
        Path(f"{mark}.started").unlink()
        os.kill(method_pid if victim == "method" else psutil.Process(method_pid).ppid(), signal.SIGKILL)
        while not Path(f"{mark}.started").is_file():  # the second attempt
            time.sleep(0.05)
        assert not psutil.pid_exists(method_pid)
    mark.touch()
    assert process.wait() == 0
    assert load_run(out, "single-self-0001").status == "ok"
    assert not (out / "jobs").exists()


def test_a_job_whose_runner_ended_before_it_started_is_ended(tmp_path):
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    request, result = tmp_path / "request.json", tmp_path / "result.json"
    argv = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    settings = {"argv": argv, "cwd": str(tmp_path), "env": {}, "log": str(tmp_path / "log"), "timeout_s": 600}
    request.write_text(json.dumps({**settings, "gpu": "", "result": str(result)}))
    environment = {**os.environ, PARENT: str(ended.pid)}
    subprocess.run([sys.executable, "-m", "baselines.supervisor", str(request)], env=environment, cwd=HERE, check=True)
    assert (json.loads(result.read_text())["status"], json.loads(result.read_text())["timed_out"]) == (None, False)


def test_two_runs_with_one_output_folder_are_refused(toy, square_bench, tmp_path):
    mark = tmp_path / "mark"
    process, _ = run_in_background(toy, square_bench, tmp_path / "out", mark)
    with pytest.raises(UserError, match=f"is being written by process {process.pid}"):
        run_method(str(toy), benchmark=square_bench.root, out=tmp_path / "out", settings=RunSettings(gpus=("",)))
    mark.touch()
    assert process.wait() == 0


def test_jobs_that_run_at_once_do_not_disturb_each_other(make, square_bench, tmp_path):
    before = hashes(square_bench.root)
    result, record = make("meet", gpus=["0", "1"], track=None)
    assert sorted(result.made) == ["single-cross-0001", "single-self-0001"]
    other = load_run(tmp_path / "out", "single-cross-0001")
    assert {record.gpu, other.gpu} == {"0", "1"}
    for case_id in result.made:
        made = frames_of(tmp_path / "out" / f"{case_id}.mp4")
        assert [number_of(frame) for frame in made] == list(range(30))
    assert hashes(square_bench.root) == before


def test_a_gpu_is_used_by_one_job_at_a_time(tmp_path):
    with hold_gpu(["0", "1"]) as first, hold_gpu(["0", "1"]) as second:
        assert {first, second} == {"0", "1"}
        assert busy_gpus(["1", "2", "0"]) == ["1", "0"]
    assert busy_gpus(["0", ""]) == []
    with hold_gpu(["", ""]) as slot:
        assert slot == ""


def test_the_jobs_of_a_folder_with_special_characters_have_a_plain_path(tmp_path):
    assert job_root(Path("/data/out_1/x-y")) == Path("/data/out_1/x-y/jobs")
    for name in ("v1.0", "a b", "[x]", "é"):
        assert job_root(tmp_path / name).parts[:2] == ("/", "tmp")
        assert set(str(job_root(tmp_path / name))) <= set("abcdefghijklmnopqrstuvwxyz0123456789-/")


def test_the_file_that_cannot_be_used_is_named(toy, square_bench, tmp_path):
    bench = tmp_path / "bench"
    shutil.copytree(square_bench.root, bench)
    case = square_bench.select("single", "self")[0]
    path = bench / case.drivers[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    settings = RunSettings(gpus=("",), track="self")
    failed = run_method(str(toy), benchmark=bench, out=tmp_path / "out", settings=settings).failed
    assert failed["single-self-0001"].partition(": ")[2].startswith(f"{path.name}: ")
    path.unlink()
    failed = run_method(str(toy), benchmark=bench, out=tmp_path / "out", settings=settings).failed
    assert failed["single-self-0001"] == f"missing_file: there is no file {path}"


@pytest.mark.parametrize("gpus", [(), ("0", "0"), ("0", "none")])
def test_gpus_that_are_no_list_of_different_indices_are_refused(make, gpus):
    with pytest.raises(UserError, match="expected different indices like 0,1, or 'none'"):
        make(gpus=gpus)


def test_an_output_folder_that_is_a_file_is_named(toy, square_bench, tmp_path, capsys):
    (tmp_path / "out").touch()
    arguments = ["run", str(toy), "--benchmark", str(square_bench.root), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--gpus", "none"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: Not a directory: {tmp_path / 'out'}")


def test_dry_run_prints_the_commands_and_writes_nothing(toy, square_bench, tmp_path):
    out = tmp_path / "out"
    settings = RunSettings(gpus=("3",), options={"mark": "m n"})
    lines = dict(dry_run(str(toy), benchmark=square_bench.root, out=out, settings=settings))
    assert list(lines) == ["single-self-0001", "single-cross-0001"]
    line = lines["single-self-0001"]
    folder = job_root(out) / "single-self-0001"
    assert line.startswith(f"cd {folder}/cwd && env CUDA_VISIBLE_DEVICES=3 ")
    assert line.endswith(f"toy.py {folder}/input/d0.mp4 {folder}/out/video.mp4 good 'm n' 42")
    assert not out.exists()


def test_what_is_not_installed_is_named_with_its_remedy(square_bench, tmp_path):
    with pytest.raises(UserError, match="liveportrait is not installed; run: baselines install liveportrait"):
        run_method("liveportrait", benchmark=square_bench.root, out=tmp_path / "out")
    settings = RunSettings(python="/none", repo=tmp_path)
    with pytest.raises(UserError, match="there is no interpreter /none"):
        run_method("liveportrait", benchmark=square_bench.root, out=tmp_path / "out", settings=settings)


def test_a_seed_is_recorded_only_if_the_method_takes_one(make, toy, square_bench, tmp_path):
    assert make(seed=3)[1].seed == 3
    text = (toy / "method.toml").read_text()
    (toy / "method.toml").write_text(text.replace('"{seed}"', '"7"'))
    with pytest.raises(UserError, match="toy takes no seed; leave out --seed"):
        make(seed=3)
    assert make(overwrite=True)[1].seed is None


def test_another_checkpoint_is_another_setting(make, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (toy / "method.toml").read_text().replace("[output]", 'weights = [{ path = "{mark}" }]\n\n[output]')
    (toy / "method.toml").write_text(text)
    (tmp_path / "model").write_bytes(b"first")
    _, record = make(mark="model")
    assert record.options["mark"] == str(tmp_path / "model")  # jobs run in folders of their own
    assert record.weights == {"{mark}": sha256_bytes(b"first")}
    assert make(mark="model")[0].made == ()
    (tmp_path / "model").write_bytes(b"second")
    with pytest.raises(UserError, match="holds single-self-0001 of other settings"):
        make(mark="model")
    assert make(mark="missing", overwrite=True)[1].options["mark"] == "missing"  # in the repository, or a name


def test_an_interpreter_and_a_checkout_are_named_from_here_and_recorded(tmp_path, monkeypatch):
    method, upstream = double_method("lia-x", tmp_path / "doubles")
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "env" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    found = find_environment(method, python="env/python", repo=upstream.relative_to(tmp_path))
    assert (found.python, found.repo, found.commit) == ((str(link),), upstream, method.commit)
    assert found.key.startswith("given-")
    assert find_environment(method, python=sys.executable).key != found.key
    (upstream / "inference.py").write_text("changed")
    assert find_environment(method, repo=upstream).commit == f"{method.commit}-dirty"
    (upstream / "inner").mkdir()
    assert find_environment(method, repo=upstream / "inner").commit == ""  # that of the outer one is not its own
    installed = find_environment(method)
    assert (installed.commit, installed.key) == (method.commit, environment_key(method))


def test_a_method_can_be_named_by_folder_or_by_the_environment_variable(toy, monkeypatch):
    assert find_method(str(toy)).name == "Toy"
    monkeypatch.setenv("EXPRBENCH_METHODS", str(toy.parent))
    assert find_method("toy").name == "Toy"
    monkeypatch.chdir(toy.parents[1])
    monkeypatch.setenv("EXPRBENCH_METHODS", "methods")  # jobs run in folders of their own
    assert find_method("toy").folder == toy
    monkeypatch.delenv("EXPRBENCH_METHODS")
    assert [find_method(name).folder for name in ("methods/toy", str(toy))] == [toy, toy]
    with pytest.raises(UserError, match=r"methods/toi is not a method: it has no method\.toml"):
        find_method("methods/toi")
    monkeypatch.chdir(toy.parent)
    assert find_method("toy").folder == toy
    monkeypatch.setenv("EXPRBENCH_METHODS", str(toy.parent))
    with pytest.raises(UserError, match="did you mean 'toy'"):
        find_method("toi")
