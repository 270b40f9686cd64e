"""Where things lie, and how large this run is."""

import os
import pathlib

TOP = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("ZOOID_BUILD", TOP / "build"))
ARCHES = ("x86_64", "aarch64")
FULL = os.environ.get("ZOOID_TEST_FULL") == "1"


def product(arch, *names):
    """The first of build/<arch>/NAME that exists."""
    for name in names:
        path = BUILD / arch / name
        if path.exists():
            return path
    raise FileNotFoundError(
        "%s: not built; run `make` first" % (BUILD / arch / names[0]))


def seed():
    """The seed of this run: $ZOOID_TEST_SEED, or one drawn once."""
    if "ZOOID_TEST_SEED" not in os.environ:
        drawn = int.from_bytes(os.urandom(3), "big")
        os.environ["ZOOID_TEST_SEED"] = str(drawn)
    return int(os.environ["ZOOID_TEST_SEED"])


def test_directory():
    path = BUILD / "test"
    path.mkdir(parents=True, exist_ok=True)
    return path
