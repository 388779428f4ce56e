"""The people of the demo: six designed characters, and random ones from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from exprbench.toy_benchmark.head import Proportions
from exprbench.toy_benchmark.paint import Colour, darker, lighter, mix

Backdrop = tuple[Colour, Colour]
PEACH: Backdrop = ((250, 228, 202), (246, 204, 176))
SAGE: Backdrop = ((226, 234, 212), (190, 212, 188))
SKY: Backdrop = ((218, 234, 238), (176, 208, 218))
BUTTER: Backdrop = ((253, 239, 206), (246, 215, 152))
LILAC: Backdrop = ((236, 226, 240), (208, 190, 222))
ROSE: Backdrop = ((252, 228, 224), (240, 192, 186))
BACKDROPS = (PEACH, SAGE, SKY, BUTTER, LILAC, ROSE)


@dataclass(frozen=True, kw_only=True)
class Character:
    """Appearance of one person.

    Attributes:
        hair_style: key of `hair.STYLES`.
        clothes: key of `clothes.STYLES`.
        wears: any of glasses, earrings, freckles, beard, stubble, lashes, blush, lines.
        stature_cm: height of the head above the average.
    """

    name: str
    skin: Colour
    hair: Colour
    brows: Colour
    hair_style: str
    eyes: Colour
    lips: Colour
    clothes: str
    top: Colour
    accent: Colour
    backdrop: Backdrop
    wears: frozenset[str] = frozenset()
    proportions: Proportions = field(default_factory=Proportions)
    stature_cm: float = 0


CAST: tuple[Character, ...] = (
    Character(
        name="Ida",
        skin=(246, 203, 170),
        hair=(176, 74, 38),
        brows=(122, 58, 36),
        hair_style="bob",
        eyes=(86, 132, 96),
        lips=(206, 92, 84),
        clothes="sweater",
        top=(235, 171, 62),
        accent=(250, 214, 132),
        backdrop=SKY,
        stature_cm=-0.6,
        wears=frozenset({"freckles", "lashes", "blush"}),
        proportions=Proportions(width=13.9, chin=10.0, jaw=1.95, nose_length=4.2, nose_width=2.9, eye_open=1.7),
    ),
    Character(
        name="Kofi",
        skin=(142, 88, 60),
        hair=(38, 27, 30),
        brows=(40, 26, 24),
        hair_style="curls",
        eyes=(74, 44, 30),
        lips=(150, 74, 66),
        clothes="shirt",
        top=(228, 96, 76),
        accent=(255, 236, 214),
        backdrop=BUTTER,
        stature_cm=0.6,
        wears=frozenset({"stubble"}),
        proportions=Proportions(
            width=14.4, jaw=2.25, nose_width=4.0, mouth_width=5.4, lip_top=0.75, lip_bottom=0.95, brow_thickness=0.65
        ),
    ),
    Character(
        name="Mei",
        skin=(244, 205, 172),
        hair=(45, 42, 58),
        brows=(52, 42, 52),
        hair_style="bun",
        eyes=(66, 46, 40),
        lips=(200, 76, 84),
        clothes="turtleneck",
        top=(52, 128, 134),
        accent=(122, 186, 180),
        backdrop=PEACH,
        stature_cm=-0.8,
        wears=frozenset({"glasses", "lashes", "blush"}),
        proportions=Proportions(
            width=13.7, chin=9.8, eye_open=1.4, eye_tilt=0.22, nose_length=4.2, nose_depth=1.7, brow_thickness=0.45
        ),
    ),
    Character(
        name="Omar",
        skin=(206, 150, 110),
        hair=(52, 38, 36),
        brows=(48, 34, 32),
        hair_style="swept",
        eyes=(92, 62, 38),
        lips=(176, 98, 84),
        clothes="jacket",
        top=(74, 98, 74),
        accent=(236, 222, 196),
        backdrop=SAGE,
        stature_cm=0.9,
        wears=frozenset({"beard"}),
        proportions=Proportions(
            width=14.6, chin=10.7, jaw=2.4, eye_open=1.4, nose_length=4.8, nose_width=3.6, brow_thickness=0.75
        ),
    ),
    Character(
        name="Rosa",
        skin=(232, 178, 140),
        hair=(206, 202, 210),
        brows=(128, 116, 122),
        hair_style="waves",
        eyes=(88, 118, 146),
        lips=(196, 62, 74),
        clothes="cardigan",
        top=(126, 74, 110),
        accent=(240, 218, 206),
        backdrop=LILAC,
        stature_cm=-0.3,
        wears=frozenset({"earrings", "lines", "lashes", "blush"}),
        proportions=Proportions(width=14.0, jaw=2.1, eye_open=1.4, brow_thickness=0.4, brow_arch=0.5, nose_width=3.2),
    ),
    Character(
        name="Amina",
        skin=(176, 116, 82),
        hair=(214, 112, 120),
        brows=(54, 34, 32),
        hair_style="scarf",
        eyes=(70, 44, 34),
        lips=(168, 74, 76),
        clothes="sweater",
        top=(64, 84, 128),
        accent=(104, 126, 168),
        backdrop=ROSE,
        stature_cm=0,
        wears=frozenset({"lashes", "blush"}),
        proportions=Proportions(width=13.8, chin=9.9, eye_open=1.65, lip_top=0.7, lip_bottom=0.9, nose_width=3.4),
    ),
)

SKINS: tuple[Colour, ...] = (
    (250, 214, 186),
    (244, 200, 164),
    (232, 182, 142),
    (212, 156, 114),
    (182, 122, 86),
    (146, 92, 62),
    (112, 68, 48),
)
HAIRS: tuple[Colour, ...] = (
    (40, 30, 32),
    (58, 56, 74),
    (66, 44, 38),
    (112, 70, 44),
    (190, 186, 194),
    (150, 52, 40),
    (166, 92, 46),
    (214, 166, 96),
)
CLOTHS: tuple[Colour, ...] = (
    (214, 104, 112),
    (70, 132, 140),
    (232, 172, 70),
    (84, 98, 146),
    (128, 150, 106),
    (224, 104, 78),
    (132, 82, 120),
    (92, 84, 90),
)
IRISES: tuple[Colour, ...] = ((74, 46, 32), (104, 70, 40), (92, 130, 94), (88, 122, 152), (118, 108, 92))


def random_character(seed: int) -> Character:
    """Return a random character, determined by the seed."""
    rng = np.random.default_rng([seed, 52])

    def choose(options: Sequence[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    style = choose(["bob", "curls", "bun", "swept", "waves", "scarf"])
    shade = int(rng.integers(len(SKINS)))
    num_shades = max(1, len(HAIRS) - 2 * shade)  # of hair and eyes, dark ones first, that are plausible with the skin
    hair = choose(CLOTHS if style == "scarf" else HAIRS[:num_shades])
    skin, top, accent = SKINS[shade], choose(CLOTHS), choose(CLOTHS)
    extras = [name for name, chance in EXTRAS.items() if rng.random() < chance and name not in UNLIKELY.get(style, ())]
    return Character(
        name=f"person {seed}",
        skin=skin,
        hair=hair,
        brows=darker(HAIRS[0] if style == "scarf" else hair, 0.4),
        hair_style=style,
        eyes=choose(IRISES[:num_shades]),
        lips=mix(skin, (186, 40, 62), rng.uniform(0.35, 0.6)),
        clothes=choose(["sweater", "turtleneck", "shirt", "jacket", "cardigan"]),
        top=top,
        accent=lighter(accent, 0.6),
        backdrop=choose(BACKDROPS),
        stature_cm=float(rng.uniform(-1, 1)),
        wears=frozenset(extras),
        proportions=_random_proportions(rng),
    )


EXTRAS = {"glasses": 0.25, "earrings": 0.3, "freckles": 0.25, "beard": 0.35, "lashes": 0.6, "blush": 0.5, "lines": 0.2}
BEARDLESS = ("beard",)
UNLIKELY = {
    "bob": BEARDLESS,
    "bun": BEARDLESS,
    "waves": BEARDLESS,
    "scarf": ("beard", "earrings"),
    "swept": ("lashes", "blush", "earrings"),
    "curls": ("lashes",),
}


def _random_proportions(rng: np.random.Generator) -> Proportions:
    """Return proportions that deviate from the average by up to 6 %, some of them by up to 25 %."""
    average = Proportions()
    spread = {f.name: 0.06 for f in fields(Proportions)} | {"jaw": 0.12, "brow_thickness": 0.25, "nose_width": 0.12}
    spread |= {"lip_top": 0.2, "lip_bottom": 0.2, "eye_open": 0.12}
    return Proportions(**{name: getattr(average, name) * rng.uniform(1 - s, 1 + s) for name, s in spread.items()})
