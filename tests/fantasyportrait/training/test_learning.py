"""The tiny recipe learns to use its conditioning, on drawn and on filmed faces; minutes on a CPU."""

import numpy as np
import pytest

from exprbench.media import open_clip, read_clip, write_image, write_video
from exprbench.scoring import score_pair
from fantasyportrait.cli import main
from fantasyportrait.portrait import resize
from fantasyportrait.sampling import sample
from fantasyportrait.training.run_log import read_metrics

SIZE, FPS, NUM_FRAMES = (64, 64), 10, 9
SEGMENTS = (0, 7, 13)  # of d10.mp4, in units of NUM_FRAMES at FPS


def train(out, *flags):
    assert main(["train", "--recipe", "tiny", "--out", str(out), "--device", "cpu", *flags]) == 0
    return out


def animate(run, portrait, driver, out):
    return sample(
        model=run / "model", portrait=portrait, drivers=[driver], out=out, size="64x64", steps=10, fps=FPS,
        expression_guidance=1.0, runtime={"device": "cpu"},
    )  # fmt: skip


def last_validation(run):
    return [line["validation"] for line in read_metrics(run) if "validation" in line][-1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return train(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def filmed(tmp_path_factory, shared_clips):
    folder = tmp_path_factory.mktemp("filmed")
    (folder / "clips.txt").write_text("".join(f"{path}\n" for path in shared_clips))
    source = f"faces={folder / 'clips.txt'}"
    return train(folder / "run", "--source", source, "--reference", "video", "--set", f"fps={FPS}")


@pytest.fixture(scope="module")
def shared_clips():
    from tests.conftest import SHARED

    paths = [SHARED / "data/driving" / name for name in ("d10.mp4", "jgz.mp4")]
    if missing := [path.name for path in paths if not path.exists()]:
        pytest.skip(f"needs ../shared/data/driving/{missing[0]}")
    return paths


@pytest.mark.slow
def test_one_command_ends_with_a_curve_a_video_and_a_model(drawn):
    frames, info = read_clip(drawn / "validation.mp4")
    assert (len(frames), info.width, info.height) == (9, 64, 64)
    assert (drawn / "loss_curve.png").stat().st_size > 1000
    assert (drawn / "model/fantasyportrait.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("run", ["drawn", "filmed"])
def test_the_loss_with_true_expressions_is_well_below_that_with_shuffled_ones(run, request):
    losses = last_validation(request.getfixturevalue(run))
    assert losses["true"] < 0.9 * losses["shuffled"]
    assert losses["true"] < 0.9 * losses["dropped"]


@pytest.mark.slow
def test_a_sampled_video_follows_its_driver_and_not_another(drawn, tmp_path):
    """The same drawn portrait is animated by two drivers; each result is nearer to its own driver's clip."""
    clips = {seed: drawn / f"clips/videos/ida-{seed}.mp4" for seed in (1, 2)}
    shown = {seed: np.stack([resize(f, SIZE) for f in read_clip(path)[0]]) for seed, path in clips.items()}
    portrait = drawn / "clips/portraits/ida.png"
    made = {
        seed: read_clip(animate(drawn, portrait, path, tmp_path / f"{seed}.mp4"))[0] for seed, path in clips.items()
    }

    def error(a, b):
        return np.abs(made[a][4:].astype(float) - shown[b][4:]).mean()  # beyond the frames near rest

    assert error(1, 1) < error(1, 2)
    assert error(2, 2) < error(2, 1)


@pytest.mark.slow
def test_videos_of_a_filmed_person_follow_their_driver_by_aed_and_correlation(filmed, shared_clips, tmp_path):
    """A frame of the overfitted clip is animated by three of its parts, and compared with each of them."""
    with open_clip(shared_clips[0], fps=FPS) as video:
        frames = list(video)
    write_image(tmp_path / "portrait.png", frames[0])
    drivers, videos = [], []
    for i in SEGMENTS:
        drivers.append(tmp_path / f"driver-{i}.mp4")
        write_video(drivers[-1], frames[i * NUM_FRAMES : (i + 1) * NUM_FRAMES], fps=FPS, crf=8)
        videos.append(animate(filmed, tmp_path / "portrait.png", drivers[-1], tmp_path / f"video-{i}.mp4"))
    columns = {"aed": -1, "follow_expression": 1}  # sign of what is better
    scores = {name: np.empty((3, 3)) for name in columns}
    for i, j in np.ndindex(3, 3):
        found = score_pair(videos[i], drivers[j], metrics=list(columns), pairing="index")
        for name, sign in columns.items():
            scores[name][i, j] = sign * found[name]
    for name, table in scores.items():
        own, others = np.diag(table), table[~np.eye(3, dtype=bool)]
        assert own.mean() > others.mean(), (name, table)
        assert (table.argmax(1) == range(3)).all(), (name, table)
