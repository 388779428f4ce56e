"""Prepare an input file: normalise it, detect its faces and write the benchmark's copy."""

from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.benchmark import Asset
from exprbench.building.bystanders import is_principal
from exprbench.building.source_files import Input
from exprbench.core.errors import ItemError
from exprbench.core.files import sha256_path, write_bytes
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.video_tracks import given_path, given_tracks, main_faces, track_faces, track_image
from exprbench.media import MediaError, open_clip, read_image, write_image, write_video

MIN_CLIP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prepared input.

    Attributes:
        main: path of its portrait or driver.
        assets: all its files, by path.
        driven: for each face, left to right, whether it drives or is driven; bystanders of a portrait are not.
    """

    input: Input
    main: str
    assets: dict[str, Asset]
    driven: tuple[bool, ...]

    @property
    def num_driven(self) -> int:
        """Return the number of faces without bystanders."""
        return sum(self.driven)


def prepare(item: Input, root: Path, fps: float, clip_seconds: float) -> Prepared:
    """Write an input's files under `root`.

    Raises:
        ItemError: the input cannot be used; the code says why.
    """
    return _portrait(item, root) if item.kind == "portrait" else _driver(item, root, fps, clip_seconds)


def _portrait(item: Input, root: Path) -> Prepared:
    image = read_image(item.path)
    suffix = _lossless_copy_suffix(item.path)
    main = f"portraits/{_prefix(item)}{item.name}{suffix or '.png'}"
    path = root / main
    if suffix:
        write_bytes(path, item.path.read_bytes())
    else:
        write_image(path, image)
    tracks = given_tracks(item.path) or track_image(path)
    detected = is_principal(image, replace(tracks, tracks=tuple(main_faces(tracks))))
    driven = detected or (True,) * (item.faces or (1 if item.split == "single" else 0))
    _check_portrait(item, sum(driven), len(detected) - sum(detected))
    asset = _asset(item, path, image.shape, num_faces=len(driven), faces_found=bool(detected))
    assets = {main: asset, **_copy_given_tracks(item, root, main, tracks)}
    return Prepared(input=item, main=main, assets=assets, driven=driven)


def _check_portrait(item: Input, num_people: int, num_bystanders: int) -> None:
    found = f"{num_people} found" + (f" and {num_bystanders} in the background" if num_bystanders else "")
    if item.split == "multi" and num_people < 2:
        detail = f"{found}; a multi portrait has two or more (see the column faces of sources.csv)"
        raise ItemError("one_face", detail)
    if item.split == "single" and num_people > 1:
        raise ItemError("several_faces", f"{found}; portraits of several people belong into --multi-portraits")


def _lossless_copy_suffix(path: Path) -> str:
    """Return the suffix of a JPEG or PNG file that all readers decode to the same pixels; empty for other files."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            upright = image.getexif().get(0x0112, 1) == 1
            is_plain = image.mode == "RGB" and "transparency" not in image.info
            image.load()
            if is_plain and upright and getattr(image, "n_frames", 1) == 1:
                return {"JPEG": ".jpg", "PNG": ".png"}.get(image.format or "", "")
    except Exception:  # an image that only OpenCV reads; damaged ones make Pillow raise almost anything
        return ""
    return ""


def _driver(item: Input, root: Path, fps: float, clip_seconds: float) -> Prepared:
    main = f"driving/{_prefix(item)}{item.name}.mp4"
    path = root / main
    first = path.with_suffix(".png")
    tracks = _write_complete_clip(item, path, fps, round(clip_seconds * fps))
    with open_clip(path) as clip:
        write_image(first, next(iter(clip)))
    num_faces = len(main_faces(tracks))
    shape = (clip.info.height, clip.info.width)
    asset = _asset(item, path, shape, num_faces=num_faces, num_frames=tracks.num_frames)
    first_asset = replace(asset, kind="first_frame", num_frames=1, **_hash_and_size(first))
    assets = {main: asset, first.relative_to(root).as_posix(): first_asset}
    assets |= _copy_given_tracks(item, root, main, tracks)
    return Prepared(input=item, main=main, assets=assets, driven=(True,) * num_faces)


def _write_complete_clip(item: Input, path: Path, fps: float, max_frames: int) -> FaceTracks:
    """Write the clip, from the first frame in which all of its people are visible, and return its tracks."""
    start, given = round(item.start_s * fps), given_tracks(item.path)
    if given and start:
        raise ItemError("tracks_mismatch", "tracks are given for the whole video, but start_s skips its beginning")
    while True:
        limit = min(max_frames, given.num_frames - start) if given and start else max_frames
        num_frames = _write_clip(item.path, path, fps, start, limit)
        tracks = given.first(start + num_frames).skip(start) if given else track_faces(path, fps=fps)
        _check_driver(item, tracks, num_frames)
        later = _first_complete_frame(tracks)
        if not later:
            return tracks
        start += later


def _write_clip(source: Path, path: Path, fps: float, start: int, max_frames: int) -> int:
    """Write the frames of a video from `start` on, `max_frames` at most, and return their number."""
    with open_clip(source, fps=fps, max_frames=start + max_frames) as clip:
        frames = islice(clip, start, None)
        first = next(frames, None)
        num_frames = 0 if first is None else write_video(path, chain([first], frames), fps=fps)
    if num_frames < MIN_CLIP_S * fps:
        after = f" after the start of the clip at {start / fps:.2f} s" if start else ""
        detail = f"{num_frames / fps:.2f} s{after}; a driver lasts {MIN_CLIP_S:g} s or more"
        raise MediaError("too_short", detail)
    return num_frames


def _first_complete_frame(tracks: FaceTracks) -> int:
    """Return the first frame in which all main faces are seen.

    Raises:
        ItemError: `never_together`, if there is none.
    """
    together = np.logical_and.reduce([track.seen for track in main_faces(tracks)])
    if not together.any():
        raise ItemError("never_together", "no frame shows all of its faces, so none can be the source of its self case")
    return int(together.argmax())


def _check_driver(item: Input, tracks: FaceTracks, num_frames: int) -> None:
    num_faces = len(main_faces(tracks))
    if tracks.num_frames != num_frames:
        detail = f"{tracks.num_frames} frames of tracks are given for {num_frames} frames of video"
        raise ItemError("tracks_mismatch", detail)
    if not num_faces:
        raise ItemError("no_face", "no face is seen in half of its frames")
    if item.split == "single" and num_faces > 1:
        raise ItemError("several_faces", f"{num_faces} faces; drivers of several people belong into --multi-driving")


def _copy_given_tracks(item: Input, root: Path, main: str, tracks: FaceTracks) -> dict[str, Asset]:
    """Write the tracks that were given with the input next to its copy; return their asset."""
    if not given_path(item.path).is_file():
        return {}
    path = given_path(root / main)
    save_tracks(path, replace(tracks, video_sha256=sha256_path(root / main)))
    return {path.relative_to(root).as_posix(): replace(_asset(item, path, (0, 0)), kind="tracks")}


def _prefix(item: Input) -> str:
    return "multi-" if item.split == "multi" else ""


def _asset(item: Input, path: Path, shape: tuple[int, ...], **counts: int) -> Asset:
    return Asset(
        kind=item.kind,
        split=item.split,
        width=shape[1],
        height=shape[0],
        original=item.file_name,
        source=item.source,
        licence=item.licence,
        person=";".join(item.persons),
        url=item.url,
        author=item.author,
        start_s=item.start_s,
        original_sha256=sha256_path(item.path),
        original_bytes=item.path.stat().st_size,
        **_hash_and_size(path),
        **counts,  # type: ignore[arg-type]
    )


def _hash_and_size(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_path(path), "num_bytes": path.stat().st_size}
