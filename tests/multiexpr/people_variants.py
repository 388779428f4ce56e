"""Make labelled clips about people: photographs held before the camera, changes of exposure, and damaged pictures.

They need FFmpeg. Labels have the keys of `variants`; None is not judged.
"""

from pathlib import Path
from typing import Any

from tests.multiexpr.unseen_variants import JPEG
from tests.multiexpr.variants import (
    CUT,
    DATA,
    FROZEN,
    GOOD,
    QUALITY,
    SQUARE,
    STILL,
    beside,
    driver,
    photo,
    write_clip,
)

SECONDS = 3.2
GAIN = "eq=eval=frame:contrast='{0}':brightness='(({0})-1)/2':saturation='{0}'"  # of all channels
SHAKE = "crop=448:448:32+20*sin(2.1*t)+6*sin(17*t):32+14*cos(1.7*t)+5*cos(13*t),scale=512:512"
LARGE = "scale=768:768:force_original_aspect_ratio=increase,crop=768:768,setsar=1,fps=25"
NO_PERSON = {"keep": 0, "people": 0, "quality": None, "live": None, "expressive": None}


def _tilt(left: str, top: str) -> str:
    """Return a filter that tilts a picture about its vertical and its horizontal axis, given (-1, 1) over time."""
    x, y = f"60*({left})", f"60*({top})"
    corners = f"x0='60+{y}':y0='60+{x}':x1='W-60-{y}':y1='60-{x}':x2='60-{y}':y2='H-60-{x}':x3='W-60+{y}':y3='H-60+{x}'"
    return f"perspective=eval=frame:sense=source:{corners}"


PAIRS: dict[str, tuple[str, str, str, dict[str, Any]]] = {  # name: left, right, filter on the pair, labels that differ
    "lights_dimmed": ("d10", "d13", GAIN.format("1-0.4*clip((t-1)/0.3,0,1)"), {}),
    "lights_on": ("d13", "d12", GAIN.format("0.55+0.45*gte(t,1.2)"), {}),
    "lamp_flickers": ("d0", "d10", GAIN.format("1+0.15*sin(31*t)"), {}),
    "clouds": ("d3", "trump", GAIN.format("0.8+0.2*cos(3*t)"), {}),
    "gamma_steps": ("jgz", "d20", "eq=eval=frame:gamma='1+0.4*gte(t,1)-0.4*gte(t,2)'", {}),
    "exposure_up": ("d11", "d13", GAIN.format("1+0.35*clip((t-1)/0.4,0,1)"), {}),
    "crushed_blacks": ("d13", "d12", "eq=contrast=3.5:brightness=-0.5", QUALITY),
    "crushed_dark": ("d10", "d20", "eq=contrast=3:brightness=-0.45", {**QUALITY, "people": None}),
    "jpeg_enlarged": ("d13", "d0", "scale=1280:640", QUALITY),
    "fog": ("d0", "d12", "eq=contrast=0.3:brightness=0.15", {"keep": None, "quality": None, "sharp": None}),
    "red_light": ("d10", "d3", "colorchannelmixer=gg=0.4:bb=0.3", {"keep": None, "quality": None}),
    "posterised": ("d12", "trump", "elbg=codebook_length=12", {"keep": None, "quality": None, "sharp": None}),
}  # fmt: skip

STILLS = {  # name: driver, photograph or driver whose picture is frozen, filter on the right picture
    "tilted_about_vertical": ("d12", "s1.jpg", f"{SQUARE},{_tilt('sin(in/8)', '0')}"),
    "tilted_about_horizontal": ("jgz", "man.jpeg", f"{SQUARE},{_tilt('0', 'sin(in/10)')}"),
    "tilted_and_turned": ("trump", "s12.jpg", f"{LARGE},{_tilt('sin(in/9)', '0.6*cos(in/12)')},"
                          "rotate=0.1*sin(2*t):c=gray,crop=640:640,scale=512:512"),
    "pushed_in": ("d10", "s1.jpg", f"{LARGE},zoompan=z=1+0.5*on/80:x=iw/2-iw/zoom/2:y=ih/3-ih/zoom/3:d=1:"
                  "s=512x512:fps=25"),
    "on_a_phone": ("d0", "s12.jpg", "scale=300:400:force_original_aspect_ratio=increase,crop=300:400,setsar=1,"
                   f"pad=512:512:106:40:color=0x202020,fps=25,{_tilt('0.5*sin(in/7)', '0.4*cos(in/11)')},{SHAKE}"),
    "waved_with_grain": ("d13", "s1.jpg",
                         f"{SQUARE},{_tilt('0.7*sin(in/5)', '0.3*sin(in/6)')},{SHAKE},noise=alls=12:allf=t"),
    "paused_video": ("d3", "d10", f"{FROZEN},{SQUARE},{SHAKE}"),
    "paused_video_tilted": ("d12", "d3", f"{FROZEN},{SQUARE},{_tilt('sin(in/9)', '0.5*sin(in/7)')}"),
}  # fmt: skip

NO_PEOPLE = {  # name: driver, picture, filter on the pair
    "cat_sits": ("d12", "stylised_s39.jpg", ""),
    "cat_crushed": ("d13", "stylised_s41.jpg", "eq=contrast=3:brightness=-0.45"),
    "monkey": ("d0", "s22.jpg", ""),
    "llama": ("d10", "stylised_s36.jpg", ""),
    "llama_toy": ("trump", "stylised_s23.jpg", ""),
    "dog_crushed": ("d12", "s25.jpg", "eq=contrast=3:brightness=-0.45"),
}


def make(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the clips into a folder and return their labels by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (left, right, post, _) in PAIRS.items():
        _pair(folder / f"{name}.mp4", left, right, post)
    for name, (left, right, look) in STILLS.items():
        _pair(folder / f"{name}.mp4", left, right, "", look)
    for name, (left, right, post) in NO_PEOPLE.items():
        _pair(folder / f"{name}.mp4", left, right, post)
    return {
        **{name: {**GOOD, **label} for name, (*_, label) in PAIRS.items()},
        **{name: {**GOOD, **STILL} for name in STILLS},
        **{name: {**GOOD, **NO_PERSON} for name in NO_PEOPLE},
        **_others(folder),
    }


def _pair(path: Path, left: str, right: str, post: str, look: str = SQUARE) -> None:
    inputs = [driver(left), photo(right) if "." in right else driver(right)]
    if path.stem != "jpeg_enlarged":
        write_clip(path, inputs, beside(post, right=look), seconds=SECONDS)
    elif not path.exists():
        old = path.with_suffix(".avi")
        small = beside("scale=720:360").replace("[o]", ",format=yuvj420p[o]")
        write_clip(old, inputs, small, seconds=SECONDS, codec=JPEG)
        write_clip(path, [["-i", str(old)]], f"[0:v]{post}[o]")
        old.unlink()


def _others(folder: Path) -> dict[str, dict[str, Any]]:
    """Write clips that fit no table; return their labels."""
    squares = "".join(f"[{i}:v]{SQUARE}[v{i}];" for i in range(4))
    part = "hstack,trim=0:1.8,setpts=PTS-STARTPTS"
    pixels = f"{squares}[v0][v1]{part}[x];[v2][v3]{part}[y];[x][y]xfade=transition=pixelize:duration=0.7:offset=0.9[o]"
    four = f"{squares}[v0][v1]hstack[x];[v2][v3]hstack[y];[x][y]vstack[o]"
    names = ("d13", "d12", "d10", "trump")
    write_clip(folder / "pixels.mp4", [driver(n) for n in names], pixels, seconds=2.8)
    write_clip(folder / "four.mp4", [driver(n) for n in names], four, seconds=SECONDS)
    write_clip(folder / "one_crushed.mp4", [driver("d12")], f"[0:v]{SQUARE},eq=contrast=3:brightness=-0.45[o]")
    two = [["-i", str(DATA / "multi/two_person.mp4")]]
    write_clip(folder / "filmed_brightened.mp4", two, f"[0:v]{GAIN.format('1+0.4*clip((t-1)/0.3,0,1)')}[o]", fps=23)
    return {
        "pixels": {**GOOD, **CUT},
        "four": dict(GOOD),
        "one_crushed": {**GOOD, **QUALITY, "people": 0},
        "filmed_brightened": dict(GOOD),
    }
