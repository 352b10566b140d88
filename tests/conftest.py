"""Where real configs come from: the torchtune wheel's own, and a corpus beside the checkout. Absent: skipped, loudly.

FTMIGRATE_HYPOTHESIS=nightly runs the property tests on many more examples, new ones each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("default", max_examples=40, deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("nightly", max_examples=3000, deadline=None, suppress_health_check=SLOW, print_blob=True)
settings.load_profile(os.environ.get("FTMIGRATE_HYPOTHESIS", "default"))

ROOT = Path(__file__).parent.parent
CORPUS = Path(os.environ.get("FTMIGRATE_CORPUS", ROOT.parent / "shared" / "corpus"))
FIXTURES = ROOT / "fixtures"


def wheel_configs() -> Path | None:
    """The directory `recipes/configs` of an installed torchtune 0.6.1, or of FTMIGRATE_TORCHTUNE_CONFIGS."""
    told = os.environ.get("FTMIGRATE_TORCHTUNE_CONFIGS")
    if told:
        return Path(told)
    python = os.environ.get("FTMIGRATE_PYTHON_TORCHTUNE", sys.executable)
    code = (
        "import importlib.util as u; s = u.find_spec('recipes');"
        "print(next(iter(s.submodule_search_locations)) if s and u.find_spec('torchtune') else '')"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    return Path(found) / "configs" if found else None


WHEEL = wheel_configs()


def torchtune_configs() -> list[Path]:
    """Every config of the wheel and of the corpus's main snapshot."""
    found = sorted(WHEEL.rglob("*.yaml")) if WHEEL else []
    main = CORPUS / "torchtune-main"
    return found + (sorted(main.rglob("*.yaml")) if main.is_dir() else [])


def pytest_report_header() -> list[str]:
    wheel = WHEEL or "absent: tests on its configs are SKIPPED (install torchtune 0.6.1)"
    corpus = CORPUS if CORPUS.is_dir() else "absent: tests on it are SKIPPED (set FTMIGRATE_CORPUS)"
    return [f"torchtune wheel configs: {wheel}", f"corpus: {corpus}"]


@pytest.fixture
def wheel() -> Path:
    if WHEEL is None:
        pytest.skip("the torchtune 0.6.1 wheel is not installed")
    return WHEEL


@pytest.fixture
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip("no corpus beside the checkout (FTMIGRATE_CORPUS)")
    return CORPUS
