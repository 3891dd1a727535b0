"""What the tests need of their surroundings, so that `make test`, plain pytest and CI are one on every machine.

It is set before anything imports torch, which reads it once, and passed on to the processes that tests start.
"""

import os

import pytest
from hypothesis import settings

# Threads beyond the few cores of a machine make tests slow, not different: `OMP_NUM_THREADS=4 make test` holds too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("NO_PROXY", "no_proxy"):  # tests talk to servers on this machine
    os.environ[name] = "127.0.0.1,localhost,test"
for name in [name for name in os.environ if name.startswith("BEAMHOUSE_")]:
    del os.environ[name]
# How long an example takes says more of who else is on the machine than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from tests that do not ask for one: the answers they compare with come from the processor."""
    expression = config.getoption("markexpr")
    if "gpu" not in expression or "not gpu" in expression:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
