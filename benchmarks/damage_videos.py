"""Videos for `benchmarks.damage`: drawn or filmed people, and known damages of five strengths."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from exprbench.benchmark import Benchmark, Case
from exprbench.building import build
from exprbench.media import open_clip, read_clip, write_image, write_video
from exprbench.toy_benchmark.animation import Animation, perform, still
from exprbench.toy_benchmark.cast import CAST, Character
from exprbench.toy_benchmark.damage import gaze_turned, head_turned, jittered
from exprbench.toy_benchmark.scene import render

FPS, CRF, HEIGHT = 25, 18, 384
DRAWN = {"rosa": ((CAST[4],), (1,)), "amina": ((CAST[5],), (2,))}
DRAWN_PAIRS = {"amina and rosa": ((CAST[5], CAST[4]), (4, 5))}
NO_FACE = "noface"

Frames = Sequence[np.ndarray]


def blurred(frames: Frames, sigma: float) -> list[np.ndarray]:
    """Return frames with a Gaussian blur of `sigma` pixels at a height of 512."""
    return [cv2.GaussianBlur(frame, (0, 0), sigma * frame.shape[0] / 512) for frame in frames]


def noisy(frames: Frames, deviation: float) -> list[np.ndarray]:
    """Return frames with Gaussian noise, independent in each value."""
    rng = np.random.default_rng(0)
    return [(frame + rng.normal(0, deviation, frame.shape)).clip(0, 255).astype(np.uint8) for frame in frames]


def smaller(frames: Frames, factor: float) -> list[np.ndarray]:
    """Return frames resized by 1 / factor, with even sides."""
    height, width = (2 * round(side / factor / 2) for side in frames[0].shape[:2])
    return [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]


def brighter(frames: Frames, levels: float) -> list[np.ndarray]:
    """Return frames with `levels` added to each value."""
    return [cv2.add(frame, np.full_like(frame, int(levels))) for frame in frames]


def late(frames: Frames, num_frames: float) -> list[np.ndarray]:
    """Return frames that come `num_frames` later; the first one is held until then."""
    return [frames[max(0, t - int(num_frames))] for t in range(len(frames))]


def shuffled(frames: Frames, reach: float) -> list[np.ndarray]:
    """Return frames each of which is replaced by one at most `reach` frames away."""
    rng, last = np.random.default_rng(0), len(frames) - 1
    return [frames[min(last, max(0, t + int(rng.integers(-reach, reach + 1))))] for t in range(len(frames))]


def unchanged(frames: Frames, _: float) -> list[np.ndarray]:
    """Return the frames; `compression` differs in how they are encoded."""
    return list(frames)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A damage of five strengths, of pictures or (`of_motion`) of the animation of drawn people.

    Attributes:
        apply: from the frames of a video, or the animation of a person, and a strength to damaged ones.
    """

    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[list, float], list] | Callable[[Animation, float], Animation]
    of_motion: bool = False


DAMAGES = {
    "blur": Damage(unit="pixels of 512", strengths=(0.5, 1, 2, 4, 8), apply=blurred),
    "noise": Damage(unit="levels of 255", strengths=(4, 8, 16, 32, 64), apply=noisy),
    "compression": Damage(unit="crf", strengths=(24, 30, 36, 42, 48), apply=unchanged),
    "smaller": Damage(unit="times", strengths=(1.25, 1.5, 2, 3, 4), apply=smaller),
    "brighter": Damage(unit="levels of 255", strengths=(10, 20, 40, 60, 80), apply=brighter),
    "delay": Damage(unit="frames", strengths=(1, 2, 3, 5, 8), apply=late),
    "frame jitter": Damage(unit="frames", strengths=(1, 2, 3, 5, 8), apply=shuffled),
    "expression jitter": Damage(
        unit="blendshapes",
        strengths=(0.02, 0.04, 0.08, 0.12, 0.16),
        apply=lambda m, x: jittered(m, 0, head_deg=0, gaze_deg=0, offset_cm=0, blendshape=x),
        of_motion=True,
    ),
    "gaze": Damage(unit="degrees", strengths=(2, 5, 10, 15, 20), apply=gaze_turned, of_motion=True),
    "head": Damage(unit="degrees", strengths=(2, 4, 8, 12, 16), apply=head_turned, of_motion=True),
}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A benchmark to damage; `motions` has the people and animations of each drawn driver, by the name of its file."""

    bench: Benchmark
    motions: dict[str, tuple[tuple[Character, ...], tuple[Animation, ...]]]

    def cases(self) -> list[Case]:
        """Return the cases of self reenactment."""
        return self.bench.select(track="self")

    def drawn(self, case: Case) -> tuple[tuple[Character, ...], tuple[Animation, ...]]:
        """Return the people of a case and their animations."""
        return self.motions[Path(self.bench.assets[case.drivers[0]].original).stem]

    def frames(self, case: Case, damage: Damage, strength: float) -> list[np.ndarray]:
        """Return the damaged frames of a case."""
        if damage.of_motion:
            people, motions = self.drawn(case)
            return list(render(people, [damage.apply(motion, strength) for motion in motions], _size(people))[0])
        return damage.apply(read_clip(self.bench.path(case.drivers[0]))[0], strength)

    def damages(self) -> dict[str, Damage]:
        """Return the damages that its videos can have."""
        return {name: damage for name, damage in DAMAGES.items() if self.motions or not damage.of_motion}


def _size(people: Sequence[Character]) -> tuple[int, int]:
    return (HEIGHT if len(people) == 1 else 7 * HEIGHT // 4), HEIGHT


def drawn_subject(folder: Path, num_frames: int) -> Subject:
    """Draw people and build a benchmark of them in which faces are detected like those of films."""
    motions = {}
    for kind, group in (("driving", DRAWN), ("multi_driving", DRAWN_PAIRS)):
        for name, (people, seeds) in group.items():
            motions[name] = people, tuple(perform(seed, num_frames) for seed in seeds)
            write_video(folder / kind / f"{name}.mp4", render(people, motions[name][1], _size(people))[0], crf=CRF)
    for kind, people in (("portraits", CAST[:1]), ("multi_portraits", CAST[:2])):
        image = next(render(people, [still() for _ in people], _size(people))[0])
        write_image(folder / kind / "portrait.png", image)
    return Subject(bench=_build(folder, num_frames), motions=motions)


def filmed_subject(folder: Path, num_frames: int, clips: Path, pairs: Path | None, count: int) -> Subject:
    """Build a benchmark of `count` videos of a folder, and of those of a folder of videos of several people."""
    for kind, source in (("driving", clips), ("multi_driving", pairs)):
        paths = [path for path in sorted(source.glob("*.mp4")) if NO_FACE not in path.name] if source else []
        for path in paths[:count]:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / kind / path.name)
            write_image(folder / kind.replace("driving", "portraits") / f"{path.stem}.png", next(_first_frames(path)))
    return Subject(bench=_build(folder, num_frames), motions={})


def _first_frames(path: Path) -> Iterator[np.ndarray]:
    with open_clip(path, max_frames=1) as clip:
        yield from clip


def _build(folder: Path, num_frames: int) -> Benchmark:
    kinds = ("portraits", "driving", "multi_portraits", "multi_driving")
    folders = {kind: folder / kind for kind in kinds if (folder / kind).is_dir()}
    return build(**folders, out=folder / "bench", clip_seconds=num_frames / FPS, workers=0)
