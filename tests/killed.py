"""Processes that the machine kills, without waiting for it to happen."""

import signal

from exprbench.core.processes import Pool, WorkerKilled
from exprbench.media.clip import DecoderProcess


def kill_decoders(monkeypatch, number):
    """Kill every decoder by a signal before it can answer."""
    send = DecoderProcess.send

    def send_and_kill(self, request):
        self.process.send_signal(signal.SIGSTOP)
        send(self, request)
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)

    monkeypatch.setattr(DecoderProcess, "send", send_and_kill)


def kill_workers_of_first_item(monkeypatch):
    """Let the workers of the first item of every pool be killed too often."""
    whole = Pool.map

    def map_rest(self, items):
        items = iter(items)
        for key, _ in items:
            yield key, WorkerKilled(detail="its worker process was ended by SIGKILL, 3 times, by the machine or a user")
            break
        yield from whole(self, items)

    monkeypatch.setattr(Pool, "map", map_rest)
