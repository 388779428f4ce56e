"""Make labelled clips with other people and other damage than `../shared/tools/curation_set.py` (needs FFmpeg).

Labels have the same keys as those of that tool. A label of None is not judged: two people could disagree on it.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import SHARED

DATA = SHARED / "data"
GOOD = {"keep": 1, "people": 1, "sharp": 1, "quality": 1, "cut": 0, "live": 1, "expressive": 1}
GOOD_CODEC = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18")
SQUARE = "scale=512:512:force_original_aspect_ratio=increase,crop=512:512,setsar=1,fps=25"
SHARPNESS, QUALITY = {"keep": 0, "sharp": 0}, {"keep": 0, "quality": 0}
BOTH = {**SHARPNESS, **QUALITY}
CUT, STILL = {"keep": 0, "cut": 1}, {"keep": 0, "live": 0, "expressive": 0}
BRIGHT = "lutrgb=" + ":".join(f"{c}=min(255\\,val*2.4+50)" for c in "rgb")
CRUSHED = "lutrgb=" + ":".join(f"{c}=max(0\\,val*1.4-150)" for c in "rgb")
ENLARGED = "scale=160:80:flags=area,scale=1024:512:flags="
EMPTY = "drawbox=t=fill:c=0x335588"
FROZEN = "trim=start=1:end=1.03,setpts=PTS-STARTPTS,loop=-1:1:0,setpts=N/25/TB"
TINY = ",scale=64:64,pad=512:512:224:224:color=gray"
BOX = "drawbox=x={}:y=150:w=200:h=280:t=fill:c=brown"
HIDDEN_SHORTLY = f"{SQUARE},{BOX.format(180)}:enable='between(t,1.5,2)'"

PAIRS = {  # name: left, right, filter on the pair, labels that differ
    "d12_d20": ("d12", "d20", "", {}),
    "trump_d3": ("trump", "d3", "", {}),
    "biden_d10": ("biden", "d10", "", {}),
    "d10_d13": ("d10", "d13", "", {}),
    "wide_bars": ("d10", "d11", "pad=1024:768:0:128", {}),
    "light_grain": ("d12", "d20", "noise=alls=8:allf=t", {}),
    "dim": ("trump", "d10", "lutyuv=y=16+(val-16)*0.6", {}),
    "moving_camera": ("d10", "trump", "crop=960:480:32+32*sin(2*t):16+16*cos(2*t)", {}),
    "small_pair": ("d12", "trump", "scale=768:384", {}),
    "mirrored_grey": ("trump", "d20", "hflip,hue=s=0", {}),
    "strong_grain": ("d12", "trump", "noise=alls=60:allf=t", QUALITY),
    "strong_grain_dark": ("d12", "d20", "noise=alls=60:allf=t", QUALITY),
    "soft": ("d12", "trump", "gblur=sigma=5", SHARPNESS),
    "soft_grain": ("d12", "trump", "gblur=sigma=5,noise=alls=15:allf=t", BOTH),
    "soft_grain_dark": ("d10", "d20", "gblur=sigma=6,noise=alls=20:allf=t", BOTH),
    "box_blur": ("d12", "d10", "boxblur=8:1", SHARPNESS),
    "enlarged_bicubic": ("d12", "trump", ENLARGED + "bicubic", {**SHARPNESS, "quality": None}),
    "enlarged_sharpened": ("trump", "d20", ENLARGED + "lanczos,unsharp=7:7:2.5", BOTH),
    "oversharpened": ("d12", "d10", "unsharp=7:7:4", QUALITY),
    "oversharpened_soft": ("d11", "d20", "gblur=sigma=1.5,unsharp=9:9:5", {**QUALITY, "sharp": None}),
    "burnt": ("d12", "trump", BRIGHT, QUALITY),
    "crushed": ("d12", "d10", CRUSHED, QUALITY),
    "frozen": ("d12", "trump", FROZEN, STILL),
    "frozen_light_grain": ("d12", "trump", FROZEN + ",noise=alls=10:allf=t", STILL),
    "frozen_grain_dark": ("d10", "d20", FROZEN + ",noise=alls=20:allf=t", STILL),
    "tiny_pair": ("d12", "trump", "scale=192:96,pad=1280:720:480:300:color=gray", SHARPNESS),
    "jump": ("d12", "d20", "select='between(t,0,1.8)+between(t,4.5,7.2)',setpts=N/25/TB", CUT),
    "jump_other": ("trump", "biden", "select='between(t,0,1.5)+between(t,5,8)',setpts=N/25/TB", CUT),
    "jump_three": ("d10", "biden", "select='between(t,0,2.2)+between(t,6,8.5)',setpts=N/25/TB", CUT),
}  # fmt: skip

CHANGES = {  # name: filter between the pairs d12, d20 and trump, d10
    "cut": "concat=n=2:v=1",
    "dissolve_slow": "xfade=duration=1.4:offset=1.0",
    "dissolve_fast": "xfade=duration=0.48:offset=1.6",
    "fade_white": "xfade=transition=fadewhite:duration=1:offset=1.4",
    "fade_black_slow": "xfade=transition=fadeblack:duration=1.4:offset=1.0",
    "wipe": "xfade=transition=wipeleft:duration=0.8:offset=1.5",
    "wipe_down": "xfade=transition=wipedown:duration=1.2:offset=1.2",
    "circle": "xfade=transition=circleopen:duration=1:offset=1.4",
    "slide": "xfade=transition=slideleft:duration=0.6:offset=1.6",
}

PHOTOS = {  # name: driver, photograph, filter on the photograph, labels that differ
    "photo": ("trump", "s7.jpg", SQUARE),
    "photo_grain": ("d20", "s4.jpg", f"{SQUARE},noise=alls=20:allf=t"),
    "photo_strong_grain": ("d12", "s12.jpg", f"{SQUARE},noise=alls=35:allf=t"),
    "photo_zoomed": ("d12", "s7.jpg", "scale=1024:1024:force_original_aspect_ratio=increase,crop=1024:1024,fps=25,"
                     "zoompan=z=1+0.1*on/100:x='iw/2-iw/zoom/2':y='ih/2-ih/zoom/2':d=1:s=512x512:fps=25,setsar=1"),
    "photo_waved": ("trump", "s12.jpg", "scale=640:640:force_original_aspect_ratio=increase,crop=640:640,fps=25,"
                    "rotate=0.08*sin(4*t):c=gray,crop=512:512:64+30*sin(3*t):64+20*cos(4*t),setsar=1"),
    "photo_blurred": ("d10", "s4.jpg", f"{SQUARE},gblur=sigma=4"),
}  # fmt: skip


def make(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the clips into a folder and return their labels by name."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {name: {**GOOD, **label} for name, (*_, label) in PAIRS.items()}
    for name, (left, right, post, _) in PAIRS.items():
        write_clip(folder / f"{name}.mp4", [driver(left), driver(right)], beside(post))
    for name, between in CHANGES.items():
        labels[name] = {**GOOD, **CUT}
        write_clip(folder / f"{name}.mp4", [driver(n) for n in ("d12", "d20", "trump", "d10")], _pairs(between))
    for name, (live, still, look) in PHOTOS.items():
        labels[name] = {**GOOD, **STILL, **({"sharp": None} if name == "photo_blurred" else {})}
        write_clip(folder / f"{name}.mp4", [driver(live), photo(still)], beside("", right=look))
    labels.update(_others(folder))
    return labels


def _others(folder: Path) -> dict[str, dict[str, Any]]:
    """Write clips that fit no table; return their labels."""
    three = ";".join(f"[{i}:v]{SQUARE}FILTER{i}[v{i}]" for i in range(3)) + ";[v0][v1][v2]hstack=3[o]"
    clips = {
        "three_live": (["d12", "trump", "d20"], three, {}),
        "three_one_photo": (["d12", "trump", "s7.jpg"], three, {}),
        "three_one_blurred": (["d12", "trump", "d20"], three.replace("FILTER2", ",gblur=sigma=6"), {}),
        "one_passes_of_three": (["d12", "trump", "s7.jpg"], three.replace("FILTER1", ",gblur=sigma=6"), SHARPNESS),
        "one_passes_tiny": (["d12", "trump", "s7.jpg"], three.replace("FILTER1", TINY),
                            {**SHARPNESS, "people": None}),
        "right_blurred": (["d12", "trump"], beside("", right=f"{SQUARE},gblur=sigma=5"), SHARPNESS),
        "right_enters": (["d12", "trump"], beside("", right=f"{SQUARE},{EMPTY}:enable='lt(t,2)'"),
                         {"keep": 0, "people": 0, "cut": None}),
        "right_leaves": (["d12", "d10"], beside("", right=f"{SQUARE},{EMPTY}:enable='gt(t,2)'"),
                         {"keep": 0, "people": 0, "cut": None}),
        "short_occlusion": (["d12", "d10"], beside("", right=HIDDEN_SHORTLY), {}),
        "face_covered": (["d12", "d10"], beside("", right=f"{SQUARE},{BOX.format(150)}"),
                         {"keep": 0, "people": None, "expressive": None}),
        "slow_neutral": (["trump", "d13"], beside("", right=f"trim=start=0:end=0.4,setpts=10*(PTS-STARTPTS),{SQUARE}"),
                         {"keep": 0, "expressive": 0}),
    }  # fmt: skip
    for name, (names, graph, _) in clips.items():
        inputs = [photo(n) if n.endswith(".jpg") else driver(n) for n in names]
        write_clip(folder / f"{name}.mp4", inputs, re.sub(r"FILTER\d", "", graph))
    _blocky(folder / "mpeg4_blocks.mp4", ["d12", "trump"], "mpeg4")
    _blocky(folder / "mpeg2_blocks.mp4", ["d10", "d20"], "mpeg2video")
    write_clip(folder / "filmed_jump.mp4", [["-i", str(DATA / "multi/two_person.mp4")]],
          "[0:v]select='between(t,0,2.5)+between(t,3.7,6.2)',setpts=N/23/TB[o]")  # fmt: skip
    write_clip(folder / "filmed_combs.mp4", [["-i", str(DATA / "multi/two_person.mp4")]],
          "[0:v]hflip,fps=60,tinterlace=mode=interleave_bottom[o]")  # fmt: skip
    write_clip(folder / "one_person.mp4", [driver("d10")], "[0:v]null[o]")
    write_clip(folder / "dancer.mp4", [["-i", str(DATA / "driving/noface_s13.mp4")]], "[0:v]scale=trunc(iw/2)*2:-2[o]")
    return {
        **{name: {**GOOD, **label} for name, (*_, label) in clips.items()},
        **{name: {**GOOD, **QUALITY} for name in ("mpeg4_blocks", "mpeg2_blocks", "filmed_combs")},
        "filmed_jump": {**GOOD, **CUT},
        "one_person": {**GOOD, "keep": 0, "people": 0},
        "dancer": {**GOOD, "keep": 0, "people": 0, "sharp": None, "expressive": None},
    }


def driver(name: str) -> list[str]:
    """Return the input options of a driving video that repeats."""
    return ["-stream_loop", "-1", "-i", str(DATA / "driving" / f"{name}.mp4")]


def photo(name: str) -> list[str]:
    """Return the input options of a portrait that is shown for 6 s."""
    return ["-loop", "1", "-framerate", "25", "-t", "6", "-i", str(DATA / "portraits" / name)]


def beside(post: str, left: str = SQUARE, right: str = SQUARE) -> str:
    """Return the graph of two inputs side by side, each with its filter, and a filter on the pair."""
    return f"[0:v]{left}[a];[1:v]{right}[b];[a][b]hstack{',' + post if post else ''}[o]"


def _pairs(between: str) -> str:
    squares = "".join(f"[{i}:v]{SQUARE}[v{i}];" for i in range(4))
    part = "hstack,trim=0:2.5,setpts=PTS-STARTPTS"
    return f"{squares}[v0][v1]{part}[x];[v2][v3]{part}[y];[x][y]{between}[o]"


def write_clip(
    path: Path,
    inputs: list[list[str]],
    graph: str,
    *,
    seconds: float = 4,
    fps: int = 25,
    codec: Sequence[str] = GOOD_CODEC,
) -> None:
    """Write the output [o] of a filter graph as a video, unless it exists."""
    if path.exists():
        return
    given = [part for one in inputs for part in one]
    output = ["-map", "[o]", "-t", str(seconds), "-r", str(fps), "-an", *codec, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *given, "-filter_complex", graph, *output], check=True)


def _blocky(path: Path, names: list[str], codec: str) -> None:
    """Write a pair that is encoded with the lowest quality of an old codec and then with a good one."""
    if path.exists():
        return
    old = path.with_suffix(".avi")
    given = [part for name in names for part in driver(name)]
    graph = ["-filter_complex", beside(""), "-map", "[o]", "-t", "4", "-an"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *given, *graph, "-c:v", codec, "-q:v", "31", str(old)], check=True)
    write_clip(path, [["-i", str(old)]], "[0:v]null[o]")
    old.unlink()
