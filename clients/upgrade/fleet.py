"""Processes of a service that are replaced one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from releases import Release, environment

WORKER = Path(__file__).parent / "worker.py"


class Process:
    """One of them."""

    def __init__(self, release: Release, url: str, namespace: str, name: str, state: dict[str, Any]) -> None:
        self.release = release
        command = [sys.executable, str(WORKER), url, namespace, name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment(release), **pipes)  # type: ignore[call-overload]
        self._input: IO[str] = self._process.stdin
        self.begin(state)
        assert self._process.stdout.readline() == "started\n", f"{release.name} does not start"

    def begin(self, work: Any) -> None:
        """Gives it work to do, and does not wait."""
        self._input.write(json.dumps(work) + "\n")
        self._input.flush()

    def end(self) -> dict[str, Any]:
        """What it was acknowledged, once its work is done."""
        line = self._process.stdout.readline()
        assert line, f"a process of {self.release.name} ended: see what it says"
        return json.loads(line)  # type: ignore[no-any-return]

    def stop(self) -> None:
        self._input.close()
        self._process.stdout.close()
        self._process.wait()


class Fleet:
    """Three of them, on sessions that all share; of those that are idle nothing is changed."""

    def __init__(self, release: Release, url: str, namespace: str, shared: list[str], idle: list[str]) -> None:
        self._url, self._namespace = url, namespace
        self.states: list[dict[str, Any]] = [
            {"calls": 0, "shared": dict.fromkeys(shared), "own": {}, "idle": idle} for _ in ("one", "two", "three")
        ]
        self._processes = [self._start(release, at) for at in range(len(self.states))]

    def _start(self, release: Release, at: int) -> Process:
        return Process(release, self._url, self._namespace, f"worker-{at}", self.states[at])

    def work(self, operations: int) -> None:
        """Lets all of them work at once."""
        for process in self._processes:
            process.begin(operations)
        self.states = [process.end() for process in self._processes]

    def replace(self, at: int, release: Release) -> None:
        """Stops one, and starts one of another release in its place, for the same clients."""
        self._processes[at].stop()
        self._processes[at] = self._start(release, at)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.stop()
