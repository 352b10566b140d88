"""Isolated environments of the frameworks: built from a lock file, or an existing interpreter that is registered.

All lie in one folder per user, one sub-folder each: `<framework>-<version>-<level>`, with an `environment.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from ftmigrate.verify import builds, checkouts
from ftmigrate.verify import probe as client
from ftmigrate.verify.locks import Lock, LockError, find_lock, newest, read_lock
from ftmigrate.verify.pythons import PythonError, find_python, find_uv

LEVEL = "load"
RECORD = "environment.json"
SOURCE = "checkout"
TAIL_LINES = 25
Progress = Callable[[str], None]


class EnvironmentProblem(Exception):
    """An environment cannot be made, found or used; the text says why, with the end of the installer's output."""


class Origin(StrEnum):
    BUILT = "built"
    REGISTERED = "registered"
    VARIABLE = "variable"


class Environment(Struct, frozen=True):
    """An interpreter that has a framework. `home` is its folder in the cache, None for one named by a variable."""

    framework: str
    version: str
    level: str
    python: Path
    origin: Origin
    home: Path | None = None
    megabytes: int | None = None
    seconds: float | None = None
    lock: str | None = None


def cache_directory() -> Path:
    """`FTMIGRATE_CACHE`, else the platform's place for a user's caches."""
    own = os.environ.get("FTMIGRATE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg and Path(xdg).is_absolute():
        base = Path(xdg)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "ftmigrate"


def environments_directory() -> Path:
    return cache_directory() / "environments"


def variable_name(framework: str) -> str:
    """The variable that names a framework's interpreter: `FTMIGRATE_PYTHON_<NAME>`."""
    return "FTMIGRATE_PYTHON_" + re.sub(r"\W", "_", framework).upper()


def parse_name(text: str) -> tuple[str, str | None]:
    """`NAME[@VERSION]` in its two parts."""
    name, at, version = text.strip().partition("@")
    name = name.lower()
    if not re.fullmatch(r"[a-z0-9_]+", name) or (at and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*", version)):
        raise EnvironmentProblem(f"{text!r} is not of the form NAME[@VERSION]")
    return name, version or None


def list_() -> list[Environment]:
    """The environments in the cache, by framework, oldest version first."""
    found = [environment for environment in _records() if environment.python.exists()]
    return sorted(found, key=lambda one: (one.framework, newest(one.version), one.level))


def find(framework: str, version: str | None = None, *, level: str = LEVEL) -> Environment | None:
    """The environment to use: the one a variable names, else a registered one, else a built one; the newest version.

    Raises EnvironmentProblem when the variable names an interpreter that is not fit.
    """
    variable = variable_name(framework)
    named = os.environ.get(variable)
    if named:
        try:
            python, found = _ask(framework, Path(named))
        except EnvironmentProblem as error:
            raise EnvironmentProblem(f"{variable}: {error}") from error
        if version is None or _agrees(version, found):
            return Environment(framework, version or found, "any", python, Origin.VARIABLE)
    fitting = [
        one
        for one in list_()
        if one.framework == framework and version in (None, one.version) and one.level in (level, "any")
    ]
    return max(fitting, key=lambda one: (newest(one.version), one.origin is Origin.REGISTERED), default=None)


def remove(framework: str, version: str | None = None) -> list[Environment]:
    """Delete the environments of a framework (of one version of it); a registered interpreter itself is not touched."""
    gone = []
    for one in _records():
        if one.framework == framework and version in (None, one.version) and one.home is not None:
            shutil.rmtree(one.home)
            gone.append(one)
    return gone


def create(
    framework: str,
    version: str | None = None,
    *,
    level: str = LEVEL,
    python: Path | str | None = None,
    lock: Path | None = None,
    source: Path | None = None,
    gpu: bool = False,
    progress: Progress | None = None,
) -> Environment:
    """Build an environment from its lock, or register the interpreter `python`. One that is there is handed back.

    `source` is a checkout of the framework, which a lock without the framework itself needs (`torchtune@main`). With
    `gpu` it also gets what only a GPU needs.

    `progress` is given one line at a time. A build that fails, or is interrupted, leaves nothing behind.
    """
    say = progress or (lambda line: None)
    if python is not None:
        return _register(framework, version, Path(python), say)
    try:
        plan = read_lock(lock) if lock else find_lock(framework, version, level)
        checkout = checkouts.check(source, framework) if source else None
    except (LockError, checkouts.CheckoutError) as error:
        raise EnvironmentProblem(str(error)) from error
    _check_source(plan, checkout)
    home = environments_directory() / f"{framework}-{plan.version}-{level}"
    present = _read(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    builds.sweep(home)
    started = time.monotonic()
    building = Path(tempfile.mkdtemp(prefix=f".{home.name}.{os.getpid()}.", dir=home.parent))
    try:
        digest = plan.digest
        if checkout is not None:
            say(f"copying {checkout}")
            checkouts.copy(checkout, building / SOURCE)
            digest = f"{plan.digest} {checkouts.digest(building / SOURCE)}"
        if (
            present is not None
            and present.python.exists()
            and present.lock in ([] if gpu else [digest]) + [f"{digest} gpu"]
        ):
            say(f"{framework} {plan.version} is there: {home}")
            return present
        installer = _install(building, plan, gpu, say)
        say("checking what was installed")
        found = _ask(framework, builds.python(building))[1]
        if not plan.source and found != plan.version:
            raise EnvironmentProblem(f"the lock of {framework} {plan.version} installed version {found}")
        _check_probe(framework, builds.python(building))
        record = {
            "framework": framework,
            "version": plan.version,
            "level": level,
            "python": builds.python(Path()).as_posix(),
            "origin": Origin.BUILT.value,
            "installer": installer,
            "lock": f"{digest} gpu" if gpu else digest,
            "source": str(checkout) if checkout else None,
            "megabytes": builds.megabytes(building),
            "seconds": round(time.monotonic() - started, 1),
        }
        (building / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        builds.relocate(building, home)
        _replace(building, home)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    made = _read(home)
    if made is None:
        raise EnvironmentProblem(f"{home} was removed by another process")
    return made


def _check_source(plan: Lock, checkout: Path | None) -> None:
    if plan.source and checkout is None:
        raise EnvironmentProblem(
            f"{plan.framework} {plan.version} is no release: name a checkout of it with --source DIRECTORY"
        )
    if checkout is not None and not plan.source:
        raise EnvironmentProblem(
            f"--source is for a version that is no release (as {plan.framework}@main), not for {plan.version}"
        )


def _register(framework: str, version: str | None, python: Path, say: Progress) -> Environment:
    path, found = _ask(framework, python)
    if version is not None and not _agrees(version, found):
        raise EnvironmentProblem(f"{path} has {framework} {found}, not {version}")
    _check_probe(framework, path)
    home = environments_directory() / f"{framework}-{version or found}-registered"
    home.mkdir(parents=True, exist_ok=True)
    record = {
        "framework": framework,
        "version": version or found,
        "level": "any",
        "python": str(path),
        "origin": Origin.REGISTERED.value,
    }
    temporary = home / f"{RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(home / RECORD)
    say(f"{framework} {found} is taken from {path}")
    made = _read(home)
    assert made is not None
    return made


def _install(folder: Path, plan: Lock, gpu: bool, say: Progress) -> str:
    """A virtual environment in `folder` with the packages of `plan`; the installer's name."""
    uv = find_uv()
    try:
        base: Path | None = find_python(plan.pythons)
    except PythonError as error:
        if uv is None:
            raise EnvironmentProblem(f"{plan.framework} {plan.version}: {error}") from error
        base = None  # uv fetches one
    say(f"creating {plan.framework} {plan.version} with {'uv' if uv else 'venv and pip'}")
    if uv:
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", str(base or plan.pythons[0]), str(folder)], say)
        install = [uv, "pip", "install", "--python", str(builds.python(folder)), "--no-deps"]
    else:
        _run([str(base), "-m", "venv", str(folder)], say)
        install = [str(builds.python(folder)), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        install += ["--progress-bar", "off", "--no-deps"]
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{line}\n" for line in plan.packages), encoding="utf-8")
    _run([*install, "-r", str(wanted)], say)
    if plan.cuda and not _torch_is_cpu_build(builds.python(folder)):
        say("this torch is built for CUDA, and does not import without its libraries")
        more = (*plan.cuda, *(plan.gpu if gpu else ()))
        wanted.write_text("".join(f"{line}\n" for line in more), encoding="utf-8")
        _run([*install, "-r", str(wanted)], say)
    wanted.unlink()
    if (folder / SOURCE).is_dir():
        say(f"installing {plan.framework} from the copy")
        _run([*install, "--no-build-isolation", str(folder / SOURCE)], say)
        shutil.rmtree(folder / SOURCE)
    return "uv" if uv else "pip"


def _run(command: Sequence[str], say: Progress) -> None:
    """Run an installer, its output to `say` line by line. Raises with the tail of it."""
    kept = client.clean_environment()
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        kept.pop(name, None)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=kept,
        )
    except OSError as error:
        raise EnvironmentProblem(f"cannot run {command[0]}: {error}") from error
    assert process.stdout is not None
    try:
        for line in process.stdout:
            text = line.rstrip()
            if text:
                tail.append(text)
                say(text)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    if status:
        shown = " ".join(command[:4])
        raise EnvironmentProblem("\n".join([f"`{shown} …` ended with status {status}; its last lines:", *tail]))


_VERSION = "import importlib.metadata as m, sys; print(sys.executable); print(m.version(sys.argv[1]))"


def _ask(framework: str, python: Path) -> tuple[Path, str]:
    """The interpreter's own path, and the version of the framework that it has."""
    # not resolved: a virtual environment's interpreter is a link, and it is the link that finds its packages
    named = str(python) if python.name == str(python) else str(python.expanduser().absolute())
    try:
        done = subprocess.run(
            [named, "-c", _VERSION, framework],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=60,
            env=client.clean_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"{named} is no Python interpreter that runs: {error}") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        if "PackageNotFoundError" in reason:
            raise EnvironmentProblem(f"{named} has no package {framework}")
        raise EnvironmentProblem(f"{named} does not answer as a Python interpreter: {reason}")
    lines = done.stdout.splitlines()
    if len(lines) != 2:
        raise EnvironmentProblem(f"{named} does not answer as a Python interpreter")
    return Path(lines[0]), lines[1]


def _check_probe(framework: str, python: Path) -> None:
    """Start the framework's probe once, if it has one: what does not import is of no use."""
    if client.probe_path(framework) is None:
        return
    try:
        with client.Probe(python, framework):
            pass
    except client.ProbeError as error:
        raise EnvironmentProblem(str(error)) from error


_TORCH = "import importlib.metadata as m; print(m.version('torch'))"


def _torch_is_cpu_build(python: Path) -> bool:
    done = subprocess.run(
        [str(python), "-c", _TORCH], capture_output=True, encoding="utf-8", env=client.clean_environment()
    )
    return done.returncode == 0 and done.stdout.strip().endswith("+cpu")


def _agrees(wanted: str, found: str) -> bool:
    """Whether `found` is the version asked for; `main` is any development build."""
    return wanted == found or (wanted == "main" and ("dev" in found or "+" in found))


def _replace(building: Path, home: Path) -> None:
    """Put a finished build in its place; one that another process put there meanwhile is as good."""
    old = building.with_name(f"{building.name}.old")
    with contextlib.suppress(FileNotFoundError):
        home.rename(old)
    try:
        building.chmod(0o755)
        building.rename(home)
    except OSError:
        if _read(home) is None:
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _records() -> Iterator[Environment]:
    folder = environments_directory()
    if folder.is_dir():
        for home in sorted(folder.iterdir()):
            one = None if home.name.startswith(".") else _read(home)
            if one is not None:
                yield one


def _read(home: Path) -> Environment | None:
    try:
        record = json.loads((home / RECORD).read_text(encoding="utf-8"))
        return Environment(
            record["framework"],
            record["version"],
            record["level"],
            home / record["python"],
            Origin(record["origin"]),
            home,
            record.get("megabytes"),
            record.get("seconds"),
            record.get("lock"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
