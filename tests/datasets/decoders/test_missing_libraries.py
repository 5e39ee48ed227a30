"""Libraries that may be missing. Where torchcodec finds no FFmpeg, it is tested on the libraries in PyAV's wheel."""

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

from eztorch.datasets.decoders import build_decoder
from eztorch.utils.errors import ConfigError

pytest.importorskip("torchcodec")
try:
    LOADED = build_decoder("torchcodec") is not None
except ConfigError:  # there is no FFmpeg that it finds
    LOADED = False


@pytest.mark.skipif(LOADED, reason="torchcodec runs in this process, so in the tests that all decoders share")
def test_torchcodec__passes_the_shared_tests_on_the_libraries_of_pyav(tmp_path):
    libraries = sorted(Path(av.__file__).parent.parent.glob("av.libs/lib*.so.*"))
    for library in libraries:
        if found := re.match(r"(lib(?:av|sw)[a-z]+)-\w+(\.so\.\d+)", library.name):
            (tmp_path / (found[1] + found[2])).symlink_to(library)
    if not any(tmp_path.iterdir()):
        pytest.skip("this build of PyAV carries no FFmpeg libraries, and the system has none")
    here = Path(__file__).parent
    files = [
        here / name
        for name in ("test_contract.py", "test_encoded.py", "test_damaged.py", "test_registry.py", "test_agreement.py")
    ]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "torchcodec", *map(str, files)],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 50


@pytest.mark.skipif(LOADED, reason="FFmpeg is there")
def test_torchcodec__without_ffmpeg_says_so_and_names_the_way_out():
    with pytest.raises(ConfigError, match=r"no FFmpeg that it supports is installed.*`decoder: pyav`"):
        build_decoder("torchcodec")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("No module named 'torchcodec'"), r"pip install 'eztorch\[torchcodec\]'.*`decoder: pyav`"),
        (RuntimeError("Could not load libtorchcodec"), r"no FFmpeg that it supports is installed.*`decoder: pyav`"),
    ],
    ids=["not installed", "an older release that fails on import"],
)
def test_torchcodec__that_cannot_be_imported_names_the_way_out(monkeypatch, error, message):
    module = sys.modules["eztorch.datasets.decoders.torchcodec"]

    def fail(name):
        raise error

    monkeypatch.setattr(module, "import_module", fail)
    with pytest.raises(ConfigError, match=message):
        build_decoder("torchcodec")


def test_decord__that_cannot_be_imported_names_the_way_out(monkeypatch):
    real = builtins.__import__

    def fail(name, *args, **kwargs):
        if name == "decord":
            raise ImportError("No module named 'decord'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ConfigError, match=r"x86-64 only .*`decoder: pyav`"):
        build_decoder("decord")
