"""Plan the jobs of a case and write their inputs: short plain names, constant integer frame rate, no audio."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.geometry import Rect, face_squares, whole
from baselines.spec import Kind, Method
from exprbench.benchmark import Benchmark, Case
from exprbench.core.errors import ItemError
from exprbench.faces import FaceTrack
from exprbench.faces.video_tracks import main_faces, track_faces, track_image
from exprbench.media import open_clip, read_image, write_image, write_video

CRF = 8  # of drivers that are cropped; the loss must not show in the scores
PLAIN = re.compile(r"[\w/-]+", re.ASCII)
SAMPLE_RATE = 16_000
FRAME_SAMPLES = 1024


@dataclass(frozen=True, kw_only=True)
class DriverInput:
    """A driver of a job: a video of the benchmark, and the face that it contributes (None: all of them)."""

    path: Path
    face: int | None
    num_faces: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a method: a source picture, or one face of it, with its drivers.

    Attributes:
        folder: private folder, whose path has no dots or other special characters.
        face: index of the only face that is animated, None for all faces.
        num_faces: number of faces of the source.
        fps: whole frames per second of the staged drivers; their frames are those of the benchmark, one to one.
        assign: `DRIVER.FACE` for each face of the source, `-` for a face at rest.
        is_self: whether the source is the first frame of the driver.
    """

    case_id: str
    kind: Kind
    folder: Path
    source: Path
    face: int | None
    num_faces: int
    drivers: tuple[DriverInput, ...]
    fps: int
    num_frames: int
    assign: str
    is_self: bool
    bench_fps: float

    @property
    def source_path(self) -> Path:
        """Return the path of the staged source."""
        return self.folder / "input" / "src.png"

    @property
    def driver_paths(self) -> tuple[Path, ...]:
        """Return the paths of the staged drivers."""
        return tuple(self.folder / "input" / f"d{i}.mp4" for i in range(len(self.drivers)))

    @property
    def out(self) -> Path:
        """Return the folder into which the method writes."""
        return self.folder / "out"


def plan_jobs(method: Method, bench: Benchmark, case: Case, folder: Path) -> list[Job]:
    """Return the jobs of a case: one, or one per driven face for a single-face method and several faces.

    Raises:
        ItemError: `unsupported`, if the method cannot make the case.
    """
    pairs = case.face_map
    if len(pairs) == 1:
        return [_face_job(method, bench, case, folder, 0)]
    if method.multi == "none":
        raise ItemError("unsupported", f"{method.name} animates one face, the case has {len(pairs)}")
    if method.multi == "compose":
        return [_face_job(method, bench, case, folder / f"face{i}", i) for i, pair in enumerate(pairs) if pair]
    return [_native_job(method, bench, case, folder)]


def _face_job(method: Method, bench: Benchmark, case: Case, folder: Path, face: int) -> Job:
    driver, driver_face = case.face_map[face] or (0, 0)
    drivers = (_driver(bench, case.drivers[driver], driver_face),)
    return _job(bench, case, folder, "single", face, drivers, "0.0")


def _native_job(method: Method, bench: Benchmark, case: Case, folder: Path) -> Job:
    if method.input.drivers == "case":
        drivers = tuple(_driver(bench, driver, None) for driver in case.drivers)
        return _job(bench, case, folder, "multi", None, drivers, case.to_row()["face_map"].replace(";", ","))
    pairs = [pair for pair in case.face_map if pair]
    if len(pairs) < len(case.face_map):
        raise ItemError("unsupported", f"{method.name} needs a driver for every face, the case leaves one at rest")
    drivers = tuple(_driver(bench, case.drivers[driver], face) for driver, face in pairs)
    return _job(bench, case, folder, "multi", None, drivers, ",".join(f"{i}.0" for i in range(len(drivers))))


def _driver(bench: Benchmark, relative: str, face: int | None) -> DriverInput:
    return DriverInput(path=bench.path(relative), face=face, num_faces=bench.assets[relative].num_faces)


def _job(
    bench: Benchmark,
    case: Case,
    folder: Path,
    kind: Kind,
    face: int | None,
    drivers: tuple[DriverInput, ...],
    assign: str,
) -> Job:
    return Job(
        case_id=case.case_id,
        kind=kind,
        folder=folder,
        source=bench.path(case.source),
        face=face,
        num_faces=len(case.face_map),
        drivers=drivers,
        fps=max(1, round(bench.fps)),
        num_frames=min(bench.assets[driver].num_frames for driver in case.drivers),
        assign=assign,
        is_self=case.track == "self",
        bench_fps=bench.fps,
    )


def example_job(folder: Path, kind: Kind) -> Job:
    """Return a job whose inputs do not exist, to see the arguments that a method gets."""
    count = 1 if kind == "single" else 2
    path = folder / "input" / "none.mp4"
    return Job(
        case_id=f"{kind}-self-0001",
        kind=kind,
        folder=folder,
        source=folder / "input" / "none.png",
        face=0 if count == 1 else None,
        num_faces=count,
        drivers=(DriverInput(path=path, face=0, num_faces=1),) * count,
        fps=25,
        num_frames=125,
        assign=",".join(f"{i}.0" for i in range(count)),
        is_self=True,
        bench_fps=25.0,
    )


def stage(method: Method, job: Job) -> Rect:
    """Write a job's inputs; return the part of the source picture that the method gets.

    Raises:
        ItemError: `no_face` if a face is needed for a crop and not found, `faces_overlap`, or a media error.
    """
    job.out.mkdir(parents=True)
    (job.folder / "tmp").mkdir()
    image = read_image(job.source)
    box = _source_box(method, job, image)
    picture = box.crop(image)
    if method.input.source == "square" and box.width == box.height:
        picture = _resize(picture, method.input.size)
    write_image(job.source_path, np.ascontiguousarray(picture))
    for driver, path in zip(job.drivers, job.driver_paths, strict=True):
        with naming(driver.path):
            _stage_driver(method, job, driver, path)
    return box


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the name of the file to the detail of an `ItemError`."""
    try:
        yield
    except ItemError as error:
        if path.name in error.detail:
            raise
        raise ItemError(error.code, f"{path.name}: {error.detail}") from error


def _source_box(method: Method, job: Job, image: np.ndarray) -> Rect:
    height, width = image.shape[:2]
    is_part = job.face is not None and job.num_faces > 1
    if not is_part and (method.input.source == "full" or _is_square(width, height)):
        return whole(width, height)
    if (
        job.is_self and job.face is not None
    ):  # the same square as the driver's, so that both have one frame of reference
        driver = job.drivers[0]
        return face_squares(_tracks(driver.path, job.bench_fps), width, height)[driver.face or 0]
    faces = main_faces(track_image(job.source))
    if len(faces) < job.num_faces:
        raise ItemError("no_face", f"{len(faces)} of {job.num_faces} faces are found in {job.source.name}")
    return face_squares(faces, width, height)[job.face or 0]


def _is_square(width: int, height: int) -> bool:
    return abs(width - height) <= 1


def _tracks(path: Path, fps: float) -> list[FaceTrack]:
    return main_faces(track_faces(path, fps=fps))


def _stage_driver(method: Method, job: Job, driver: DriverInput, path: Path) -> None:
    with open_clip(driver.path) as clip:
        width, height = clip.info.width, clip.info.height
        is_part = driver.face is not None and driver.num_faces > 1
        is_square = method.input.driver == "square"
        if not is_part and (not is_square or _is_square(width, height)):
            box = whole(width, height)
            if not is_square and not method.input.audio and job.fps == job.bench_fps:
                shutil.copyfile(driver.path, path)
                return
        else:
            box = face_squares(_tracks(driver.path, job.bench_fps), width, height)[driver.face or 0]
        side = method.input.size if is_square else None
        frames = (_resize(box.crop(frame), side) for frame in clip)
        audio = _silence(path.with_suffix(".m4a"), job.num_frames / job.fps) if method.input.audio else None
        write_video(path, _first(frames, job.num_frames), fps=job.fps, crf=CRF, audio=audio)


def _first(frames: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for _, frame in zip(range(count), frames, strict=False):
        yield frame


def _resize(picture: np.ndarray, side: int | None) -> np.ndarray:
    import cv2

    if side is None or picture.shape[:2] == (side, side):
        return np.ascontiguousarray(picture)
    shrinks = side < picture.shape[0]
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _silence(path: Path, seconds: float) -> Path:
    """Write silence as AAC in MP4, mono; a WAV file would not say which speaker its channel is for."""
    import av

    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=SAMPLE_RATE)
        stream.layout = "mono"
        for start in range(0, int(seconds * SAMPLE_RATE), FRAME_SAMPLES):
            samples = np.zeros((1, FRAME_SAMPLES), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
