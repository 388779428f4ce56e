"""Captions by CogVLM2-Caption, the captioner of the paper, in a process with an environment of its own.

The model's code needs an older version of transformers than this project, so `cogvlm2_worker.py` runs in an environment
that uv makes from the versions at its top, or with an interpreter that you give as `caption.python`. The model's folder
contains Python code, which is executed; it has to be on this machine, since nothing is downloaded.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError
from exprbench.core.progress import say
from multiexpr.captions.prompt import build_prompt
from multiexpr.recipe import Caption
from multiexpr.sources.locate import ClipError

NAME = "cogvlm2-llama3-caption"
NUM_FRAMES = 24  # as in its training
WORKER = Path(__file__).with_name("cogvlm2_worker.py")


def find_model(name: str) -> Path:
    """Return the folder of the model, given as a path or as a name in the folders of $EXPRBENCH_WEIGHTS.

    Raises:
        UserError: there is no such folder.
    """
    candidates = [Path(name or NAME), *(folder / (name or NAME) for folder in weights.folders())]
    path = next((path for path in candidates if (path / "config.json").is_file()), None)
    if path is None:
        raise UserError(
            f"there is no captioner {name or NAME!r}; put the files of huggingface.co/THUDM/{NAME} into "
            f"{weights.folders()[0] / NAME}, or choose another caption.backend (openai, source)"
        )
    return path


def worker_command(python: str, model: Path) -> list[str]:
    """Return the command that starts the worker with an interpreter, or with uv if none is given.

    Raises:
        UserError: neither is on this machine.
    """
    if python:
        interpreter = shutil.which(python)
        if interpreter is None:
            raise UserError(
                f"caption.python is {python!r}, which is no interpreter; expected a path such as env/bin/python"
            )
        return [interpreter, str(WORKER), str(model)]
    uv = shutil.which("uv")
    if uv is None:
        raise UserError(
            "captions by cogvlm2 need uv, which makes the model's environment (pip install uv), or an interpreter with "
            f"the packages at the top of {WORKER}: --set caption.python=PATH"
        )
    return [uv, "run", "--quiet", "--no-project", "--script", str(WORKER), str(model)]


class CogVLM2Captioner:
    """Captioner in a process of its own, started on first use; frames are decoded by this project."""

    def __init__(self, params: Caption) -> None:
        self.params = params
        self.command = worker_command(params.python, find_model(params.model))
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        self.process: Any = None

    def caption(self, frames: list[np.ndarray], num_people: int) -> str:
        """Return a caption of a clip, from (H, W, 3) uint8 RGB frames.

        Raises:
            ClipError: caption_failed, if the GPU has too little memory for this clip.
            UserError: the environment cannot be made, or the model cannot be loaded or fails.
        """
        if self.process is None:
            self._start()
        query = build_prompt(self.params.prompt, num_people, len(frames))
        video = np.stack(frames)
        request = {"query": query, "max_tokens": self.params.max_tokens, "shape": video.shape}
        answer = self._exchange(json.dumps(request).encode() + b"\n" + video.tobytes())
        if "error" in answer:
            raise ClipError("caption_failed", answer["error"])
        return answer["caption"]

    def _start(self) -> None:
        say("caption: starting CogVLM2; the first start makes its environment, which takes minutes")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log
        )  # it ends when its standard input closes, also if this process is killed
        device = self._exchange(b"")["ready"]
        say(f"caption: CogVLM2 runs on {device}")

    def _exchange(self, request: bytes) -> dict[str, Any]:
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            status = self.process.wait()
            raise UserError(f"CogVLM2 ended with status {status}: {self._last_line()}")
        return json.loads(line)

    def _last_line(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")
