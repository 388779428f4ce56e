"""Make labelled clips that the rules were not developed on: a third set of people, damage and cuts (needs FFmpeg).

Labels have the keys of `variants`; None is not judged.
"""

from pathlib import Path
from typing import Any

from tests.multiexpr.variants import (
    BOTH,
    CUT,
    DATA,
    FROZEN,
    GOOD,
    GOOD_CODEC,
    QUALITY,
    SHARPNESS,
    STILL,
    beside,
    driver,
    photo,
    write_clip,
)

SECONDS = 3.0
SQUARE = "scale=480:480:force_original_aspect_ratio=increase,crop=480:480,setsar=1,fps=25"
CLOSE = "crop=400:400:150:170," + SQUARE  # the head of s29
SMALL = "scale=160:80:flags=area,scale=960:480:flags="
SLIDES = "fps=1,fps=25"
FLASH = "eq=eval=frame:brightness='0.5*between(n,36,38)'"
AUTO_EXPOSURE = "eq=eval=frame:brightness='0.1*clip((t-1.2)/0.5,0,1)'"
FLICKER = "eq=eval=frame:brightness='0.05*sin(9*t)'"
SALT = "geq=lum='if(lt(random(1),0.04),255*gt(random(2),0.5),lum(X,Y))':cb='cb(X,Y)':cr='cr(X,Y)'"
SHAKE = "crop=880:440:40+30*sin(7*t):20+15*cos(9*t)"
PUNCH_IN = (
    "split[p][q];[p]trim=0:1.5[r];[q]trim=1.5:3,setpts=PTS-STARTPTS,crop=720:360:120:40,scale=960:480[s];[r][s]concat"
)
LOW_BITRATE = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "45k")
JPEG = ("-c:v", "mjpeg", "-q:v", "31", "-qmin", "31", "-qmax", "31", "-huffman", "default")

PAIRS: dict[str, tuple[str, str, str, dict[str, Any]]] = {  # name: left, right, filter on the pair, labels that differ
    "d0_jgz": ("d0", "jgz", "", {}),
    "d13_d0": ("d13", "d0", "", {}),
    "d3_jgz": ("d3", "jgz", "", {}),
    "pillars": ("d0", "biden", "scale=720:360,pad=1280:480:280:60", {}),
    "film_grain": ("d0", "d3", "noise=alls=12:allf=t+u", {}),
    "gamma_dark": ("d13", "d3", "eq=gamma=0.7", {}),
    "gamma_bright": ("d0", "trump", "eq=gamma=1.3", {}),
    "grey_pair": ("d0", "d13", "hue=s=0", {}),
    "crf_30": ("jgz", "d13", "", {}),
    "handheld": ("d0", "d12", SHAKE, {}),
    "zooming": ("d0", "d10", "zoompan=z=1+0.15*on/75:x=iw/2-iw/zoom/2:y=ih/2-ih/zoom/2:d=1:s=960x480:fps=25", {}),
    "low_light": ("d20", "d0", "lutyuv=y=16+(val-16)*0.5,noise=alls=5:allf=t", {}),
    "telecine": ("d0", "d12", "fps=12.5,fps=25", {}),
    "slow_motion": ("d3", "d12", "setpts=1.6*PTS", {}),
    "flash": ("d0", "d20", FLASH, {}),
    "auto_exposure": ("d3", "d11", AUTO_EXPOSURE, {}),
    "silent": ("d0", "d11", "", {}),
    "one_second": ("d0", "d10", "trim=0:1", {"keep": 0, "expressive": None}),
    "motion_blur": ("d0", "d3", "avgblur=sizeX=14:sizeY=1", SHARPNESS),
    "lens_blur": ("d0", "jgz", "boxblur=6:2", SHARPNESS),
    "pixelated": ("d0", "d3", SMALL + "neighbor", {**QUALITY, "sharp": None}),
    "enlarged_lanczos": ("d13", "jgz", SMALL + "lanczos", {**SHARPNESS, "quality": None}),
    "enlarged_bilinear": ("d0", "d10", SMALL + "bilinear", {**SHARPNESS, "quality": None}),
    "enlarged_unsharp": ("d13", "d0", SMALL + "bicubic,unsharp=5:5:3", BOTH),
    "oversharp": ("d0", "jgz", "unsharp=9:9:4", QUALITY),
    "salt_pepper": ("d0", "d3", SALT, QUALITY),
    "uniform_noise": ("jgz", "d0", "noise=alls=50:allf=t+u", QUALITY),
    "colour_noise": ("d0", "d3", "noise=c1s=70:c2s=70:c1f=t:c2f=t", QUALITY),
    "blur_salt": ("d0", "d13", "gblur=sigma=5," + SALT, BOTH),
    "overexposed": ("d0", "d3", "eq=brightness=0.45:contrast=1.6", QUALITY),
    "underexposed": ("d0", "jgz", "lutyuv=y=16+(val-16)*0.12", QUALITY),
    "harsh": ("d3", "d13", "eq=contrast=4:brightness=-0.55", QUALITY),
    "interlaced_pair": ("d12", "jgz", "tinterlace=mode=interleave_bottom,fps=25", QUALITY),
    "interlaced_scaled": ("d12", "d3", "tinterlace=mode=interleave_top,fps=25,scale=1280:640:flags=bicubic", QUALITY),
    "low_bitrate": ("d0", "d3", "", QUALITY),
    "jpeg": ("d0", "d13", "", QUALITY),
    "jpeg_scaled": ("d3", "jgz", "scale=1200:600", QUALITY),
    "punch_in": ("d0", "d3", PUNCH_IN, CUT),
    "jump_d0": ("d0", "d13", "select='between(t,0,1.4)+between(t,2.5,4.4)',setpts=N/25/TB", CUT),
    "jump_d3": ("d3", "d12", "select='between(t,0,1.2)+between(t,6.2,8.4)',setpts=N/25/TB", CUT),
    "slideshow": ("d12", "d3", SLIDES, {"keep": 0, "live": 0, "expressive": None, "cut": None}),
    "frozen_flicker": ("d0", "d3", f"{FROZEN},{FLICKER}", STILL),
    "frozen_low_bitrate": ("d13", "d3", FROZEN + ",noise=alls=8:allf=t", {**STILL, "quality": None, "sharp": None}),
}  # fmt: skip

CHANGES = {  # name: filter between the pairs d0, d3 and d13, jgz of 1.6 and 2 s
    "fade_short": "xfade=duration=0.32:offset=1.2",
    "dissolve_long": "xfade=duration=1.5:offset=0.1",
    "wipe_diagonal": "xfade=transition=wipetl:duration=1:offset=0.5",
    "radial": "xfade=transition=radial:duration=1:offset=0.5",
    "fade_grey": "xfade=transition=fadegrays:duration=1:offset=0.5",
    "pixelize": "xfade=transition=pixelize:duration=0.8:offset=0.6",
    "fade_black_short": "xfade=transition=fadeblack:duration=0.5:offset=1",
    "smooth": "xfade=transition=smoothleft:duration=0.8:offset=0.6",
    "cut_pairs": "concat=n=2:v=1",
}

TURNED = "rotate=0.004*n:c=gray,crop=400:400,scale=480:480,setsar=1"
TILTED = ("perspective=eval=frame:x0='40+40*sin(in/9)':y0='20+20*sin(in/9)':x1='W-40-40*sin(in/9)':y1='0':"
          "x2='0':y2='H-20':x3='W-20':y3='H-30+30*cos(in/9)'")  # fmt: skip
PANNED = "crop=440:440:'20+18*sin(1.5*t)':'20+15*cos(1.2*t)',scale=480:480,setsar=1"
STILLS = {  # name: driver, photograph, filter on the photograph, filter on the pair
    "turned_painting": ("d0", "s5.jpg", f"{SQUARE},{TURNED}", ""),
    "tilted_photo": ("d3", "s7.jpg", f"{SQUARE},{TILTED}", ""),
    "panned_painting": ("jgz", "s4.jpg", f"{SQUARE},{PANNED}", ""),
    "painting_handheld": ("d0", "s3.jpg", f"crop=564:564:0:20,{SQUARE}", SHAKE),
    "doll_fine_grain": ("d13", "s7.jpg", f"{SQUARE},noise=alls=12:allf=t", ""),
}


def make(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the clips into a folder and return their labels by name."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {name: {**GOOD, **label} for name, (*_, label) in PAIRS.items()}
    codecs = {"low_bitrate": LOW_BITRATE, "frozen_low_bitrate": LOW_BITRATE,
              "crf_30": (*GOOD_CODEC[:-1], "30")}  # fmt: skip
    for name, (left, right, post, _) in PAIRS.items():
        _pair(folder / f"{name}.mp4", [driver(left), driver(right)], post, codecs.get(name, GOOD_CODEC))
    for name, between in CHANGES.items():
        labels[name] = {**GOOD, **CUT}
        graph = _shots(between)
        write_clip(folder / f"{name}.mp4", [driver(n) for n in ("d0", "d3", "d13", "jgz")], graph, seconds=SECONDS)
    for name, (live, still, look, post) in STILLS.items():
        labels[name] = {**GOOD, **STILL}
        _pair(folder / f"{name}.mp4", [driver(live), photo(still)], post, GOOD_CODEC, right=look)
    labels.update(_others(folder))
    return labels


def _pair(path: Path, inputs: list[list[str]], post: str, codec: tuple[str, ...], right: str = SQUARE) -> None:
    if path.stem not in ("jpeg", "jpeg_scaled"):
        write_clip(path, inputs, beside(post, left=SQUARE, right=right), seconds=SECONDS, codec=codec)
        return
    old = path.with_suffix(".avi")  # blocks of JPEG; then scaled, if at all
    if not path.exists():
        small = "scale=720:360" if post else ""
        graph = beside(small, left=SQUARE, right=right).replace("[o]", ",format=yuvj420p[o]")
        write_clip(old, inputs, graph, seconds=SECONDS, codec=JPEG)
        write_clip(path, [["-i", str(old)]], f"[0:v]{post or 'null'}[o]")
        old.unlink()


def _shots(between: str) -> str:
    squares = "".join(f"[{i}:v]{SQUARE}[v{i}];" for i in range(4))
    return (
        f"{squares}[v0][v1]hstack,trim=0:1.6,setpts=PTS-STARTPTS[x];"
        f"[v2][v3]hstack,trim=0:2,setpts=PTS-STARTPTS[y];[x][y]{between}[o]"
    )


def _others(folder: Path) -> dict[str, dict[str, Any]]:
    """Write clips that fit no table; return their labels."""
    poster = f"[2:v]scale=150:-2[c];[0:v]{SQUARE}[a];[1:v]{SQUARE}[b];[a][b]hstack[d];[d][c]overlay=405:20[o]"
    wall = f"[0:v]{SQUARE}[a];[1:v]scale=240:-2,pad=480:480:120:40:color=0x997755,setsar=1[b];[a][b]hstack,{SHAKE}[o]"
    same = f"[0:v]{SQUARE}[a];[1:v]{SQUARE}[b];[a][b]hstack,split[c][d];[c]trim=0:2,setpts=PTS-STARTPTS[e];"
    same += "[d]trim=5:7.2,setpts=PTS-STARTPTS[f];[e][f]xfade=duration=0.8:offset=1.1[o]"
    clips = {
        "background_poster": (["d0", "d10", "s12.jpg"], poster, {}),
        "fps_60": (["d10", "d3"], beside("", left=SQUARE.replace("25", "60"), right=SQUARE.replace("25", "60")), {}),
        "upright": (["d0", "d13"], f"[0:v]{SQUARE}[a];[1:v]{SQUARE}[b];[a][b]vstack[o]", {}),
        "poster_on_wall": (["d0", "s12.jpg"], wall, {**STILL, "people": None}),
        "cat": (["d0", "stylised_s41.jpg"], beside("", SQUARE, SQUARE),
                {"keep": 0, "people": 0, "live": None, "expressive": None}),
        "dog": (["jgz", "s25.jpg"], beside("", SQUARE, SQUARE),
                {"keep": 0, "people": 0, "live": None, "expressive": None}),
        "two_paintings": (["s4.jpg", "s5.jpg"], beside("", SQUARE, SQUARE), STILL),
        "right_soft": (["d0", "d3"], beside("", SQUARE, f"{SQUARE},gblur=sigma=4"), SHARPNESS),
        "left_lens_blur": (["jgz", "d0"], beside("", f"{SQUARE},boxblur=5:2", SQUARE), SHARPNESS),
        "far_right": (["d0", "s29"], beside("", SQUARE, SQUARE), {"keep": None, "expressive": None}),
        "dissolve_same_people": (["d3", "d12"], same, CUT),
        "nearly_neutral": (["d3", "d0"], beside("", SQUARE, f"trim=0:0.3,setpts=12*(PTS-STARTPTS),{SQUARE}"),
                           {"keep": 0, "expressive": 0}),
    }  # fmt: skip
    for name, (names, graph, _) in clips.items():
        inputs = [photo(n) if n.endswith(".jpg") else driver(n) for n in names]
        fps = 60 if name == "fps_60" else 25
        write_clip(folder / f"{name}.mp4", inputs, graph, seconds=SECONDS, fps=fps)
    filmed = [["-i", str(DATA / "multi/two_person.mp4")]]
    write_clip(folder / "filmed_mirrored.mp4", filmed, "[0:v]hflip,scale=854:480[o]", fps=23)
    write_clip(folder / "filmed_vertical.mp4", filmed, "[0:v]crop=800:720:300:0[o]", fps=23)
    return {
        **{name: {**GOOD, **label} for name, (*_, label) in clips.items()},
        **{name: dict(GOOD) for name in ("filmed_mirrored", "filmed_vertical")},
    }
