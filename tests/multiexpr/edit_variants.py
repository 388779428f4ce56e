"""Make labelled clips about edits: cuts between takes of the same people, and motion and cadences that are no cuts.

Labels have the keys of `variants`; only `cut` is judged, and `keep` of clips with a cut (needs FFmpeg).
"""

from pathlib import Path
from typing import Any

from tests.multiexpr.variants import DATA, GOOD, driver, write_clip

NOT_JUDGED = dict.fromkeys(GOOD, None)
FILMED = ["-i", str(DATA / "multi/two_person.mp4")]
DANCER = ["-i", str(DATA / "driving/noface_s13.mp4")]
QUICK_PAN = "fps=25,scale=1600:900,crop=1000:700:'600*clip((t-1)/0.6,0,1)':100"
SHAKE = "crop=860:440:'50+45*sin(12*t)':'20+15*cos(17*t)'"
QUICK_ZOOM = "zoompan=z='1+0.5*clip((on-25)/12,0,1)':x=iw/2-iw/zoom/2:y=ih/2-ih/zoom/2:d=1:s=960x480:fps=25"
LAMP = "eq=eval=frame:brightness='0.15*clip((t-1.2)/0.2,0,1)'"
LOW_BITRATE = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "33", "-g", "20")

Clip = tuple[list[str], str, int]  # drivers, filter on the pair, frames per second


def _jump(start_s: float, cut_s: float, next_s: float, end_s: float, fps: int) -> str:
    return f"select='between(t,{start_s},{cut_s})+between(t,{next_s},{end_s})',setpts=N/{fps}/TB"


def _dissolve(start_s: float, next_s: float, cut_s: float, duration_s: float) -> str:
    first = f"[p]trim={start_s}:{start_s + cut_s + duration_s},setpts=PTS-STARTPTS[r]"
    second = f"[q]trim={next_s}:{next_s + 4},setpts=PTS-STARTPTS[s]"
    return f"split[p][q];{first};{second};[r][s]xfade=duration={duration_s}:offset={cut_s}"


EDITED: dict[str, Clip] = {
    "jump_small": (["biden", "d11"], _jump(0, 1.6, 2.4, 5, 25), 25),
    "jump_30": (["d13", "d20"], _jump(2, 3.5, 5.2, 7.5, 30), 30),
    "jump_50": (["d3", "biden"], _jump(0, 1.5, 7, 9, 50), 50),
    "jump_half_a_second": (["d12", "d10"], _jump(0.5, 2, 2.5, 4.5, 25), 25),
    "jump_filmed_small": (["two_person"], _jump(1, 2.5, 3.1, 5.2, 23), 23),
    "jump_15": (["d20"], "fps=15," + _jump(0.4, 2, 4, 6, 15) + ",fps=30", 30),
    "jump_one_person": (["trump"], _jump(0, 1.5, 4.5, 7, 50), 50),
    "jump_one_small": (["d11"], _jump(0, 1.6, 3.1, 5, 25), 25),
    "dissolve_short": (["biden", "d20"], _dissolve(0, 3.6, 1.2, 0.5), 25),
    "dissolve_green": (["d10", "d13"], _dissolve(1, 5, 1.0, 1.0), 25),
    "dissolve_filmed": (["two_person"], "fps=25," + _dissolve(0, 3.6, 1.0, 0.8), 25),
    "dissolve_one_long": (["d13"], _dissolve(0, 6, 0.5, 2.0), 25),
    "dissolve_one": (["trump"], _dissolve(0, 4, 1.0, 0.8), 25),
    "dissolve_one_child": (["d11"], _dissolve(0, 4, 1.0, 1.0), 25),
}  # fmt: skip

MOVING: dict[str, Clip] = {
    "twice_as_fast": (["d10", "d13"], "setpts=0.5*PTS,fps=25", 25),
    "one_fast": (["d3"], "setpts=0.5*PTS,fps=25", 25),
    "shaken": (["d11", "d20"], SHAKE, 25),
    "dancer": (["noface_s13"], "scale=480:-2", 25),
    "quick_pan": (["two_person"], QUICK_PAN, 25),
    "quick_zoom": (["d12", "d13"], QUICK_ZOOM, 25),
    "flash": (["d13", "biden"], "eq=eval=frame:brightness='0.6*between(n,40,40)'", 25),
    "lamp": (["d11", "d10"], LAMP, 25),
    "key_frames": (["d11", "d10"], "", 25),
    "fps_15_in_25": (["d3", "d11"], "fps=15,fps=25", 25),
    "fps_15_in_30": (["d3"], "fps=15,fps=30", 30),
    "fps_24_in_30": (["d10", "d12"], "fps=24,fps=30", 30),
    "fps_8_in_25": (["d12", "d13"], "fps=8,fps=25", 25),
    "three_times_slower": (["d13", "d12"], "setpts=3*PTS,minterpolate=fps=25:mi_mode=blend", 25),
    "twice_as_slow": (["d10", "d11"], "setpts=2*PTS,fps=25", 25),
    "pauses": (["d3", "d11"], "select='not(between(t,1,1.2)+between(t,2,2.15))',fps=25", 25),
}  # fmt: skip


SLIDES = {  # name: transition between the pairs d10, d11 and d20, biden
    "slide_left": "slideleft:duration=0.6:offset=1.2",
    "slide_up": "slideup:duration=0.8:offset=1",
    "slide_fast": "slideright:duration=0.3:offset=1.4",
}


def make(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the clips into a folder and return their labels by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (people, post, fps) in {**EDITED, **MOVING}.items():
        codec = {"codec": LOW_BITRATE} if name == "key_frames" else {}
        inputs = [{"two_person": FILMED, "noface_s13": DANCER}.get(person) or driver(person) for person in people]
        write_clip(folder / f"{name}.mp4", inputs, _graph(people, post, fps), seconds=3.2, fps=fps, **codec)
    for name, transition in SLIDES.items():
        inputs = [driver(person) for person in ("d10", "d11", "d20", "biden")]
        write_clip(folder / f"{name}.mp4", inputs, _slide(transition), seconds=3.2)
    return {
        **{name: {**NOT_JUDGED, "keep": 0, "cut": 1} for name in (*EDITED, *SLIDES)},
        **{name: {**NOT_JUDGED, "cut": 0} for name in MOVING},
    }


def _squares(count: int, fps: int) -> str:
    square = f"scale=480:480:force_original_aspect_ratio=increase,crop=480:480,setsar=1,fps={fps}"
    return "".join(f"[{i}:v]{square}[v{i}];" for i in range(count))


def _slide(transition: str) -> str:
    pair = "hstack,trim=0:2,setpts=PTS-STARTPTS"
    return f"{_squares(4, 25)}[v0][v1]{pair}[x];[v2][v3]{pair}[y];[x][y]xfade=transition={transition}[o]"


def _graph(people: list[str], post: str, fps: int) -> str:
    """Return the graph of a file of its own as it is, or of one or two drivers side by side."""
    if people[0] in ("two_person", "noface_s13"):
        return f"[0:v]{post}[o]"
    pair = "[v0][v1]hstack" if len(people) == 2 else "[v0]null"
    return f"{_squares(len(people), fps)}{pair}{',' + post if post else ''}[o]"
