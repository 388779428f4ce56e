"""GPU server: one process per GPU, shared by all workers: `python -m multiexpr.execution.gpu_server DEVICE ADDRESS`.

Workers decode clips; each sends the frames of one clip and waits for the result. When the network is free, all waiting
frames go through it in batches of up to `MAX_BATCH`, so that batches grow with the load. MediaPipe's face networks are
served too if the face engine is `torch`. The device `cpu` works the same and is used in tests.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path

import numpy as np

from exprbench.core.child_process import end_with_parent
from exprbench.core.errors import UserError
from exprbench.core.processes import spawn, stop
from multiexpr.models.detector import Models
from multiexpr.recipe import Recipe, as_dict, from_dict

MAX_BATCH = 64  # frames per batch, unless a single request has more
START_S = 300.0
KEY = "MULTIEXPR_GPU_KEY"
PEOPLE, ANIMALS, AESTHETICS = "people", "animals", "aesthetics"  # tasks; the others are the names of face networks


def list_gpus() -> list[str]:
    """Return the names of the GPUs that this process can use."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


class RemoteModels(Models):
    """Networks in a GPU server, with the interface of `Models`."""

    def __init__(self, recipe: Recipe, address: str) -> None:
        super().__init__(recipe)
        self.connection = Client(address, authkey=bytes.fromhex(os.environ[KEY]))

    def people(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Return the people in each frame; see `Models.people`."""
        return self._request(PEOPLE, np.stack(frames))

    def animals(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        """Return the animals in each frame; see `Models.animals`."""
        return self._request(ANIMALS, np.stack(frames))

    def aesthetics(self, crops: np.ndarray) -> np.ndarray:
        """Return LAION scores; see `Models.aesthetics`."""
        return self._request(AESTHETICS, crops)[0]

    def face_network(self, name: str, batch: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of a face network; see `Models.face_network`."""
        return self._request(name, batch)

    def _request(self, task: str, batch: np.ndarray) -> list[np.ndarray]:
        _send(self.connection, task, [batch])
        head, arrays = _receive(self.connection)
        if head:
            raise UserError(head)
        return arrays


def _send(connection: Connection, text: str, arrays: list[np.ndarray]) -> None:
    """Send a text (a request's task, or an answer's error) and arrays."""
    connection.send_bytes(json.dumps([text, [[a.dtype.str, a.shape] for a in arrays]]).encode())
    for array in arrays:
        connection.send_bytes(memoryview(np.ascontiguousarray(array)).cast("B") if array.size else b"")


def _receive(connection: Connection) -> tuple[str, list[np.ndarray]]:
    text, shapes = json.loads(connection.recv_bytes())
    return text, [np.frombuffer(connection.recv_bytes(), dtype).reshape(shape) for dtype, shape in shapes]


class GpuServers:
    """Context manager that runs one GPU server per device; workers connect to `addresses`."""

    def __init__(self, recipe: Recipe, devices: list[str]) -> None:
        os.environ.setdefault(KEY, secrets.token_hex(32))
        self.folder = tempfile.TemporaryDirectory(prefix="multiexpr-")
        self.addresses = [str(Path(self.folder.name) / f"gpu{i}") for i in range(len(devices))]
        self.processes = [
            _start(recipe, device, address) for device, address in zip(devices, self.addresses, strict=True)
        ]

    def __enter__(self) -> "GpuServers":
        start = time.monotonic()
        for process, address in zip(self.processes, self.addresses, strict=True):
            while not Path(address).exists():
                if process.poll() is not None or time.monotonic() - start > START_S:
                    lines = _log(address).read_text(errors="replace").split("\n")
                    self.__exit__()
                    reason = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
                    raise UserError(f"the GPU server did not start; use --devices cpu: {reason[-500:]}")
                time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        stop(self.processes)
        for process in self.processes:
            process.stdin.close()
        self.folder.cleanup()


def _start(recipe: Recipe, device: str, address: str) -> subprocess.Popen:
    with _log(address).open("w") as log:  # a pipe that is not read would block the server once it is full
        command = ["multiexpr.execution.gpu_server", device, address]
        process = spawn(command, text=True, stdin=subprocess.PIPE, stderr=log)
    process.stdin.write(json.dumps(as_dict(recipe)) + "\n")
    process.stdin.flush()
    return process


def _log(address: str) -> Path:
    """Return the file of a server's standard error."""
    return Path(f"{address}.log")


def serve(models: Models, listener: Listener) -> None:
    """Serve the requests of workers forever; the process ends with its parent."""
    connections: list[Connection] = []
    threading.Thread(target=_accept, args=(listener, connections), daemon=True).start()
    while True:
        ready = wait(list(connections), timeout=0.05)
        requests: dict[str, list[tuple[Connection, np.ndarray]]] = {}
        for connection in ready:
            try:
                task, (batch,) = _receive(connection)
                requests.setdefault(task, []).append((connection, batch))
            except (EOFError, OSError):
                connections.remove(connection)
        for task, batches in requests.items():
            _process_batches(models, task, batches)


def _accept(listener: Listener, connections: list[Connection]) -> None:
    while True:
        connections.append(listener.accept())


def _process_batches(models: Models, task: str, requests: list[tuple[Connection, np.ndarray]]) -> None:
    """Run the network on the inputs of several workers per batch and send every worker its results."""
    while requests:
        batch, size = [], 0
        while requests and (not batch or size + len(requests[0][1]) <= MAX_BATCH):
            batch.append(requests.pop(0))
            size += len(batch[-1][1])
        try:
            answers = _run_network(models, task, [inputs for _, inputs in batch])
        except UserError as error:
            for connection, _ in batch:
                _send(connection, str(error), [])
            continue
        for (connection, _), answer in zip(batch, answers, strict=True):
            _send(connection, "", answer)


def _run_network(models: Models, task: str, parts: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Return the results by worker: an array per image (people), or the outputs of the network."""
    ends = np.cumsum([len(part) for part in parts])[:-1]
    if task in (PEOPLE, ANIMALS):
        boxes = getattr(models, task)([frame for part in parts for frame in part])  # the clips may differ in size
        return [boxes[start:end] for start, end in zip([0, *ends], [*ends, len(boxes)], strict=True)]
    inputs = np.concatenate(parts)
    outputs = [models.aesthetics(inputs)] if task == AESTHETICS else models.face_network(task, inputs)
    return [list(answer) for answer in zip(*(np.split(output, ends) for output in outputs), strict=True)]


def main() -> None:
    """Serve one device until the parent process ends."""
    end_with_parent()
    device, address = sys.argv[1:]
    recipe = from_dict(json.loads(sys.stdin.readline()))
    listener = Listener(address, authkey=bytes.fromhex(os.environ[KEY]))
    serve(Models(recipe, device), listener)


if __name__ == "__main__":
    main()
