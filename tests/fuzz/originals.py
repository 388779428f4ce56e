"""Whole files to be damaged: made ones of every common container, and the first second of filmed ones at hand."""

import csv
import io
import json
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
from PIL import Image

from exprbench.faces import save_tracks
from exprbench.media import read_clip
from exprbench.records import save_record
from multiexpr.storage.parquet import write_rows
from tests.conftest import SHARED
from tests.people import people, person
from tests.test_records import record
from tests.videos import numbered, write

NUM_FRAMES = 30
MADE = {
    "h264.mp4": {"codec": "libx264"},
    "h264.mkv": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264"},
    "hevc.mp4": {"codec": "libx265"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9"},
}
FILMED = ("driving/d20.mp4", "driving/trump.mp4", "multi/two_person.mp4", "raw/tree.avi", "raw/vtest.avi")
FILMED_S = 1.0


def originals(folder):
    """Name -> bytes."""
    paths = [_made(folder / name, **options) for name, options in MADE.items()]
    paths += [_cut(SHARED / "data" / name, folder) for name in FILMED if (SHARED / "data" / name).exists()]
    paths += [*_stills(folder), *_tracks(folder), *_texts(folder), *_archives(folder)]
    return {path.name: path.read_bytes() for path in paths}


def _stills(folder):
    picture = Image.fromarray(numbered(7))
    glass = picture.convert("RGBA")
    glass.putalpha(128)
    saved = {"png": picture, "jpg": picture, "webp": picture, "tif": picture, "bmp": picture, "gif": picture}
    for suffix, image in saved.items():
        image.save(folder / f"still.{suffix}")
    for suffix in ("png", "webp", "tif"):
        glass.save(folder / f"still.glass.{suffix}")
    return sorted(folder.glob("still.*"))


def _tracks(folder):
    tracks = people(6, person(6), person(6, x=0.3))
    save_tracks(folder / "tracks.stored.npz", tracks)
    with np.load(folder / "tracks.stored.npz") as file:
        np.savez_compressed(folder / "tracks.deflated.npz", **dict(file))
    return sorted(folder.glob("tracks.*"))


def _texts(folder):
    rows = [{"file": f"{name}.mp4", "caption": f'the "{name}"\nlaughs', "score": 1.5} for name in "abcd"]
    for suffix in ("csv", "tsv"):
        with (folder / f"table.{suffix}").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if suffix == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    (folder / "table.json").write_text(json.dumps(rows))
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_rows(folder / "table.parquet", rows, pa.Table.from_pylist(rows).schema)
    (folder / "sources.csv").write_text("file,source,licence,person,faces\na.mp4,https://example.org,CC0,Ada,1\n")
    (folder / "sources.utf16.csv").write_text("file,person\na.mp4,Zoë\n", encoding="utf-16")
    save_record(folder / "record.json", record())
    return [*sorted(folder.glob("table.*")), *sorted(folder.glob("sources.*")), folder / "record.json"]


def _archives(folder):
    members = {f"{i}.{suffix}": f"{i} {suffix}".encode() * 300 for i in range(3) for suffix in ("mp4", "txt")}
    members["2.json"] = b'{"caption": "two", "aesthetic score": 5.5}'
    with tarfile.open(folder / "archive.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return [folder / "archive.tar", folder / "archive.zip"]


def _made(path, codec):
    write(path, [numbered(i) for i in range(NUM_FRAMES)], codec=codec)
    assert len(read_clip(path)[0]) == NUM_FRAMES
    return path


def _cut(path: Path, folder: Path) -> Path:
    """The packets of a file's first second, as they are."""
    out = folder / f"filmed-{path.name}"
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        video = source.streams.video[0]
        stream = target.add_stream_from_template(video)
        for packet in source.demux(video):
            if packet.dts is None or packet.dts * packet.time_base > FILMED_S:
                break
            packet.stream = stream
            target.mux(packet)
    return out
