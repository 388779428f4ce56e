"""Claims: processes on one or several machines divide the shards of a stage by files on their shared file system.

A claim is a file `SHARD.GENERATION` that is created only if it does not exist, which is atomic on local disks and on
NFS 3 and later. Its owner renews its modification time. A claim is stale if it was not renewed for `LEASE_S`, or if its
process was on this machine and has ended; the process that creates the next generation takes the shard over. Times are
those of the file server, so that the clocks of the machines may differ.

Claims only avoid double work. If a process that was suspended for longer than the lease goes on, two processes write
the same files, each atomically.
"""

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

LEASE_S = 120.0  # longer than NFS clients cache attributes, and than a pause of a busy machine
RENEWALS = 6  # per lease
START_TOLERANCE_S = 5.0  # start times of processes move when the clock is set


class Claims:
    """Context manager with the claims of this process in a folder; all are released at its end."""

    def __init__(self, folder: Path, *, lease_s: float = LEASE_S) -> None:
        self.folder = folder
        self.lease_s = lease_s
        self.owned: dict[str, Path] = {}
        self._owner = {"machine": machine_id(), "host": socket.gethostname(), **_process(os.getpid())}
        self._clock = folder / f".clock-{secrets.token_hex(8)}"
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> "Claims":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._renewer.join()
        for name in list(self.owned):
            self.release(name)
        self._clock.unlink(missing_ok=True)
        with suppress(OSError):  # other processes have claims in it
            self.folder.rmdir()

    def take(self, name: str, *, patience_s: float | None = None) -> bool:
        """Claim a shard, and return whether this process owns it now.

        Args:
            name: name of the shard.
            patience_s: age in seconds from which on a claim that is renewed is taken over too, to help a slow process;
                None leaves it to its owner.
        """
        generations = self._generations(name)
        if generations and not self._is_free(self._path(name, generations[-1]), patience_s):
            return False
        path = self._path(name, generations[-1] + 1 if generations else 0)
        if not self._create(path):
            return False
        self.owned[name] = path
        return True

    def release(self, name: str) -> None:
        """Remove an own claim, and those that it replaced."""
        path = self.owned.pop(name)
        for generation in self._generations(name):
            older = self._path(name, generation)
            older.unlink(missing_ok=True)
            if older == path:
                return

    def holders(self) -> dict[str, str]:
        """Return a description of the process that owns each claimed shard, by name; without stale claims."""
        newest: dict[str, int] = {}
        for name, generation in self._all():
            newest[name] = max(generation, newest.get(name, -1))
        paths = {name: self._path(name, generation) for name, generation in sorted(newest.items())}
        held = {name: _describe(_read(path)) for name, path in paths.items() if not self._is_free(path, None)}
        self._clock.unlink(missing_ok=True)
        return held

    def _path(self, name: str, generation: int) -> Path:
        return self.folder / f"{name}.{generation}"

    def _all(self) -> list[tuple[str, int]]:
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        parts = (name.rpartition(".") for name in names if not name.startswith("."))
        return [(name, int(generation)) for name, _, generation in parts if generation.isdigit()]

    def _generations(self, name: str) -> list[int]:
        return sorted(generation for other, generation in self._all() if other == name)

    def _create(self, path: Path) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)  # the last process that ended may have removed it
        try:
            number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(json.dumps({**self._owner, "created": os.fstat(number).st_mtime}))
        return True

    def _is_free(self, path: Path, patience_s: float | None) -> bool:
        """Return whether a claim was released, is stale, or is older than `patience_s`."""
        owner = _read(path)
        if owner is None:
            return True
        now = self._server_time()
        is_stale = now - owner["renewed"] > self.lease_s or _has_ended(owner)
        return is_stale or (patience_s is not None and now - owner["created"] > patience_s)

    def _server_time(self) -> float:
        """Return the present time of the file server, from a file that is touched."""
        try:
            self._clock.touch()
            return self._clock.stat().st_mtime
        except OSError:  # the folder cannot be written; the times are only shown then
            return time.time()

    def _renew(self) -> None:
        while not self._ended.wait(self.lease_s / RENEWALS):
            for path in list(self.owned.values()):
                with suppress(OSError):  # released, or taken over
                    os.utime(path)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the owner of a claim with the times of its creation and renewal; None if it was released.

    The file is opened because NFS clients then ask the server for its times.
    """
    try:
        with path.open(encoding="utf-8") as file:
            status, text = os.fstat(file.fileno()), file.read()
    except OSError:
        return None
    owner = json.loads(text) if text.endswith("}") else {}  # empty until its owner has written it
    return {**owner, "renewed": status.st_mtime, "created": owner.get("created", status.st_mtime)}


def _has_ended(owner: dict[str, Any]) -> bool:
    """Return whether the process of an owner was on this machine and has ended."""
    if owner.get("machine") != machine_id():
        return False
    started = _process(owner["pid"])["started"]
    return abs(started - owner["started"]) > START_TOLERANCE_S


def _process(pid: int) -> dict[str, Any]:
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "started": 0.0}


def machine_id() -> str:
    """Return a text that is the same for processes that see each other's process ids, and differs otherwise."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()]
        parts += [os.readlink("/proc/self/ns/pid")]  # containers on one machine have process ids of their own
    return " ".join(parts)


def _describe(owner: dict[str, Any] | None) -> str:
    return f"process {owner['pid']} on {owner['host']}" if owner and "pid" in owner else "a process"
