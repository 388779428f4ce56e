"""Read a damaged file in the ways its kind is read, and return how each ended: a word, or the code of a named error."""

import shutil

import numpy as np

from exprbench import UserError, load_record
from exprbench.building.source_files import list_inputs
from exprbench.core.errors import ItemError
from exprbench.faces import load_tracks
from exprbench.media import open_clip, open_frames, probe, read_image
from exprbench.media.errors import CODES
from multiexpr.indexing.listing import list_collection
from multiexpr.storage.workspace import Workspace

STALL_S = 10.0
ENDS = {"frames", "read", "user_error", "tracks_invalid", *CODES}


def read(name, path, rng):
    """Return how reading a file of this name ended, in each of the ways there are."""
    kind = name.partition(".")[0]
    return READERS.get(kind, read_video)(path, rng)


def read_video(path, rng):
    rate = rng.choice((None, 25))
    times = [k / 5 for k in range(8)]
    return [
        end(lambda: frames(open_clip(path, fps=rate, max_frames=rng.choice((None, 20)), stall_s=STALL_S))),
        end(lambda: frames(open_frames(path, times, short_side=rng.choice((None, 64)), stall_s=STALL_S))),
        end(lambda: probe(path, stall_s=STALL_S), "frames"),
    ]


def read_still(path, rng):
    del rng
    return [end(lambda: check_frame(read_image(path)))]


def read_track_file(path, rng):
    del rng
    return [end(lambda: load_tracks(path), "read")]


def read_record(path, rng):
    del rng
    return [end(lambda: load_record(path), "read")]


def read_table(path, rng):
    """List a folder of four files with this table; a caption is written down with the rest."""
    del rng
    with collection(path) as root:
        for name in "abcd":
            (root / f"{name}.mp4").write_bytes(name.encode())
        return [end(lambda: list_collection(root, Workspace(root.parent / "out"), kind="multiexpr"), "read")]


def read_archive(path, rng):
    del rng
    kind = "webdataset" if path.suffix == ".tar" else "folder"
    with collection(path) as root:
        return [end(lambda: list_collection(root, Workspace(root.parent / "out"), kind=kind), "read")]


def read_sources(path, rng):
    del rng
    with collection(path) as root:
        (root / path.name).rename(root / "sources.csv")
        (root / "a.mp4").touch()
        return [end(lambda: list(list_inputs(root, "driver", "single")), "read")]


class collection:
    """Folder with a copy of a file, which is removed afterwards."""

    def __init__(self, path):
        self.path, self.folder = path, path.parent / "collection"

    def __enter__(self):
        (self.folder / "root").mkdir(parents=True)
        shutil.copy(self.path, self.folder / "root")
        return self.folder / "root"

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


READERS = {
    "still": read_still,
    "tracks": read_track_file,
    "record": read_record,
    "table": read_table,
    "archive": read_archive,
    "sources": read_sources,
}


def end(action, good="frames"):
    """Return `good`, or the code of the error; anything but a named error goes through."""
    try:
        action()
    except ItemError as error:
        return error.code if error.code in ENDS and error.detail else f"unnamed {error}"
    except UserError as error:
        return "user_error" if "\n" not in str(error) else f"lines {error}"
    return good


def frames(clip):
    with clip:
        for frame in clip:
            check_frame(frame)
            assert frame.shape[:2] == (clip.info.height, clip.info.width)


def check_frame(frame):
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
