"""The client of a framework's probe: a process in its environment that answers one JSON line for another."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

START_SECONDS = 300.0
REQUEST_SECONDS = 300.0
TAIL_LINES = 30
DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class ProbeError(Exception):
    """The probe cannot be started, ended, or did not answer in time; `tail` is the end of what it printed."""

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(f"{message}\n{tail}" if tail else message)
        self.tail = tail


def framework_directory(framework: str) -> Path | None:
    """The folder of a framework's package: one of ours, else one that the entry-point group names."""
    if not framework.replace("_", "").isalnum():
        return None
    spec = importlib.util.find_spec(f"ftmigrate.frameworks.{framework}")
    if spec is None:
        for point in importlib.metadata.entry_points(group="ftmigrate.frameworks", name=framework):
            with contextlib.suppress(ImportError):
                spec = importlib.util.find_spec(point.module)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def probe_path(framework: str) -> Path | None:
    """The framework's probe program, if it has one."""
    folder = framework_directory(framework)
    path = folder / "probe.py" if folder else None
    return path if path and path.is_file() else None


def clean_environment(**more: str) -> dict[str, str]:
    """This process's variables without those that would mix our packages into another interpreter."""
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"} | more


class Probe:
    """A context manager around one probe process, which imports its framework once and then serves requests.

    `python` is the interpreter of the framework's environment. device: `cuda` lets the framework see a GPU. Requests are answered one at a time.
    """

    def __init__(
        self,
        python: Path | str,
        framework: str,
        *,
        script: Path | None = None,
        cwd: Path | None = None,
        device: str = "cpu",
        start_seconds: float = START_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        found = script or probe_path(framework)
        if found is None:
            raise ProbeError(f"the framework {framework} has no probe")
        self.python, self.framework, self.script, self.cwd = str(python), framework, found, cwd
        self.device = device
        self.start_seconds, self.request_seconds = start_seconds, request_seconds
        self.about: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._threads: list[threading.Thread] = []
        self._number = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and wait until the framework is imported; `about` then holds its versions."""
        if self._process is not None:
            raise ProbeError("the probe is already started")
        try:
            self._process = subprocess.Popen(
                [self.python, "-u", str(self.script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                cwd=self.cwd,
                env=clean_environment(FTMIGRATE_DEVICE=self.device),
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise ProbeError(f"cannot run {self.python}: {error}") from error
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        for reader, stream in ((self._read_answers, self._process.stdout), (self._read_chatter, self._process.stderr)):
            thread = threading.Thread(target=reader, args=(stream,), daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            answer = self.request("version", timeout=self.start_seconds)
        except BaseException:
            self.close()
            raise
        if not answer["ok"]:
            tail = self._end()
            raise ProbeError(f"{self.framework} does not import in {self.python}: {answer['error']['message']}", tail)
        self.about = {key: value for key, value in answer.items() if key not in ("id", "ok")}

    def request(self, operation: str, *, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """One request, its answer. A refusal is an answer (`ok` false); ProbeError means that there is none."""
        process = self._process
        if process is None or process.stdin is None:
            raise ProbeError("the probe is not started")
        seconds = self.request_seconds if timeout is None else timeout
        self._number += 1
        line = json.dumps({"id": self._number, "op": operation, **arguments})
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except (OSError, ValueError):  # ended; its last answer, or its end, is read below
            pass
        deadline = time.monotonic() + seconds
        while True:
            try:
                text = self._answers.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                tail = self._end()
                raise ProbeError(
                    f"the {self.framework} probe gave no answer to {operation!r} in {seconds:g} s", tail
                ) from None
            if text is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)  # so that its own status is told, not our kill
                tail = self._end()
                raise ProbeError(f"the {self.framework} probe ended with status {process.returncode}", tail)
            try:
                answer = json.loads(text)
            except ValueError:
                self._tail.append(text.rstrip("\n"))
                continue
            if isinstance(answer, dict) and answer.get("id") in (self._number, None) and "ok" in answer:
                return answer

    def close(self) -> None:
        """End the process; it is asked first."""
        process = self._process
        if process is None:
            return
        if process.poll() is None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                process.stdin.write('{"id": 0, "op": "quit"}\n')
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        self._end()

    def _end(self) -> str:
        """Kill what still runs, release the pipes; the tail of what was printed."""
        process, self._process = self._process, None
        if process is not None:
            if os.name == "posix":
                with contextlib.suppress(OSError):  # its session: what the framework started ends with it
                    os.killpg(process.pid, signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError, ValueError):
                    process.stdin.close()
            for thread, stream in zip(self._threads, (process.stdout, process.stderr), strict=True):
                thread.join(2)
                if stream is not None and not thread.is_alive():
                    stream.close()
        return "\n".join(self._tail)

    def _read_answers(self, stream: IO[str]) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in stream:
                self._answers.put(line)
        self._answers.put(None)

    def _read_chatter(self, stream: IO[str]) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in stream:
                self._tail.append(line.rstrip("\n"))
