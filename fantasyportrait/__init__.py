"""FantasyPortrait: animate portraits of one or several people after driving videos.

    import fantasyportrait
    fantasyportrait.convert(base="Wan2.1-I2V-14B-720P", adapter="fantasyportrait_model.ckpt",
                            expression="pd_fpg.pth", out="model")
    fantasyportrait.sample(model="model", portrait="me.jpg", drivers=["smile.mp4"], out="me.mp4")

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

_HOME_OF = {
    "Machine": "fantasyportrait.options",
    "Options": "fantasyportrait.options",
    "convert": "fantasyportrait.checkpoints.convert",
    "info": "fantasyportrait.checkpoints.info",
    "open_studio": "fantasyportrait.studio",
    "sample": "fantasyportrait.sampling",
    "sample_benchmark": "fantasyportrait.sampling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'fantasyportrait' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
