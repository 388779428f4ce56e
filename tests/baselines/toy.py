"""A method in a folder of its own, which copies the driver with the standard library alone, and fails on request."""

METHOD = """
name = "Toy"
licence = "none"
python = "3.10"
minutes = 5
options = { habit = "good", mark = "none" }
no_face = ["no face here"]
steps = [{ run = ["{python}", "-S", "{method}/toy.py", "{driver}", "{out}/video.mp4", "{habit}", "{mark}", "{seed}"] }]

[output]
find = ["{out}/*.mp4"]
"""

SCRIPT = """
import os, pathlib, shutil, subprocess, sys, time

driver, out, habit, mark, seed = sys.argv[1:]


def add_noise(driver, out):
    noise = f"noise=c0s=9:all_seed={os.getpid() % 9999}"
    subprocess.run(["ffmpeg", "-y", "-v", "error", "-i", driver, "-vf", noise, out], check=True)


pathlib.Path(driver + ".pkl").write_text("next to the driver")
pathlib.Path("results").mkdir()
if habit == "hang":
    time.sleep(600)
if habit == "out of memory":
    sys.exit("torch.cuda.OutOfMemoryError: CUDA out of memory")
if habit == "no face":
    sys.exit("no face here")
if habit == "no output":
    sys.exit(0)
if habit == "crash" or (habit == "crash once" and not os.path.exists(mark)):
    pathlib.Path(mark).touch()
    sys.exit(5)
if habit == "child":
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    pathlib.Path(mark).write_text(str(child.pid))
if habit == "wait for mark":
    pathlib.Path(mark + ".started").write_text(str(os.getpid()))
    while not os.path.exists(mark):
        time.sleep(0.05)
if habit == "meet":  # waits for the other job
    device = os.environ["CUDA_VISIBLE_DEVICES"]
    pathlib.Path("scratch").write_text(driver)
    pathlib.Path(f"{mark}.{device}").touch()
    while not all(os.path.exists(f"{mark}.{i}") for i in (0, 1)):
        time.sleep(0.05)
    assert pathlib.Path("scratch").read_text() == driver
shutil.copy(driver, out)
if habit == "noise":
    add_noise(driver, out)
if habit == "partial":
    os.truncate(out, os.path.getsize(out) // 2)
if habit == "two outputs":
    shutil.copy(driver, out[:-4] + "2.mp4")
if habit == "fails after":
    sys.exit(3)
"""


def write_toy(folder, *, more=""):
    """Write the method; `more` is added at the start of its method.toml."""
    folder.mkdir(parents=True)
    (folder / "method.toml").write_text(more + METHOD)
    (folder / "toy.py").write_text(SCRIPT)
    return folder
