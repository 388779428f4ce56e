"""Workers: processes that are given one clip at a time, and replaced when one of them crashes or hangs."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Hashable, Iterator
from typing import Any

from exprbench.core.errors import UserError

Request = dict[str, Any]
Answer = dict[str, Any]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # one worker a core
ATTEMPTS = 2  # a worker may be killed for reasons of its own; a clip that takes down two is to blame


class Pool:
    """`num_workers` processes; requests in, answers out, in no order.

    Args:
        hellos: what the workers are told at their start, in turn.
        num_workers: how many.
        timeout_s: seconds a request may take.
    """

    def __init__(self, hellos: list[Request], num_workers: int, timeout_s: float) -> None:
        if num_workers < 1:
            raise UserError(f"--workers is {num_workers}; expected 1 or more")
        self.timeout_s = timeout_s
        self.selector = selectors.DefaultSelector()
        self.workers = [_Worker(hellos[i % len(hellos)]) for i in range(num_workers)]

    def answers(self, requests: Iterator[tuple[Hashable, Request]]) -> Iterator[tuple[Any, Answer]]:
        """(key, answer) of every request, as they come; requests are drawn when a worker is free for them."""
        idle, again = list(self.workers), []
        while True:
            while idle and (job := again.pop() if again else next(requests, None)):
                worker = idle.pop()
                worker.give(*job)
                self.selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            busy = [key.data for key in self.selector.get_map().values()]
            if not busy:
                return
            for worker in self._ready(busy):
                self.selector.unregister(worker.process.stdout)
                key, request, answer = worker.take(self.timeout_s)
                idle.append(worker)
                if answer is None and worker.attempts < ATTEMPTS:
                    again.append((key, {**request, "attempts": worker.attempts}))
                else:
                    yield key, _checked(answer or _dead(request, worker))

    def _ready(self, busy: list["_Worker"]) -> list["_Worker"]:
        """Workers that have answered, died or overrun their time."""
        first = min(worker.since for worker in busy) + self.timeout_s
        events = self.selector.select(max(0.0, first - time.monotonic()))
        late = [worker for worker in busy if time.monotonic() - worker.since > self.timeout_s]
        return list({id(worker): worker for worker in [*(key.data for key, _ in events), *late]}.values())

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.end()
        self.selector.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One process, and what it is at."""

    def __init__(self, hello: Request) -> None:
        self.hello = hello
        self.process: subprocess.Popen | None = None

    def give(self, key: Hashable, request: Request) -> None:
        self.key, self.request, self.attempts = key, request, request.get("attempts", 0) + 1
        self.buffer = bytearray()
        if self.process is None or self.process.poll() is not None:
            self._start()
        self.since = time.monotonic()
        self._send(request)

    def _start(self) -> None:
        self.end()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "multiexpr.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("MULTIEXPR_DEBUG") else subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # Ctrl-C is for the parent to handle
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self._send(self.hello)

    def _send(self, message: Request) -> None:
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; its closed output tells so

    def take(self, timeout_s: float) -> tuple[Any, Request, Answer | None]:
        """Its answer; None where it died, a timeout where it took too long. Waits for the rest of a line begun."""
        while True:
            block = self.process.stdout.read()
            if block:
                self.buffer += block
            if self.buffer.endswith(b"\n"):
                return self.key, self.request, json.loads(self.buffer)
            if block == b"":
                self.end()
                return self.key, self.request, None
            if time.monotonic() - self.since > timeout_s:
                self.end()
                late = {"error": ["timeout", f"not done after {timeout_s:g} s"]}
                return self.key, self.request, late
            time.sleep(0.001)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def _dead(request: Request, worker: _Worker) -> Answer:
    return {"error": ["worker_crashed", f"the process that worked on it died, {worker.attempts} times"]}


def _checked(answer: Answer) -> Answer:
    if "fatal" in answer:
        raise UserError(answer["fatal"])
    if "bug" in answer:
        raise RuntimeError(f"a worker failed:\n{answer['bug']}")
    return answer
