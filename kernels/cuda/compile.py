"""From a source of this folder to machine code for an architecture, kept on disk for the next process."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from . import nvrtc, wire_format

SOURCES = Path(__file__).parent
MADE = {"wire_format.cuh": wire_format.header}  # headers that are no files

# Rounding is part of what a kernel computes: a multiply-add is fused where the source says so and nowhere
# else (-fmad=false), and denormals stay (no -ftz).  The rest makes ptxas report registers and spills.
OPTIONS = (
    "--std=c++17",
    "-fmad=false",
    "-ftz=false",
    "-prec-div=true",
    "-prec-sqrt=true",
    "-default-device",
    "--ptxas-options=-v",
    "--ptxas-options=--warn-on-spills",
    "--ptxas-options=--warn-on-local-memory-usage",
)


def cubin(name, arch, defines=None, major=None):
    """Machine code of ``name``.cu for ``arch`` ("sm_90a"), from the disk where it was compiled before.

    ``defines`` are macros by name; ``major`` is the CUDA version that the driver takes, any if None.
    """
    compiler, texts, options = nvrtc.load(major), sources(name), _options(arch, defines)
    place = cache_folder() / f"{name}-{arch}-{_digest(compiler.version, texts, options)}.cubin"
    kept = _read(place)
    if kept is None:
        kept, _ = _compile(compiler, name, texts, options)
        _write(place, kept)
    return kept


def build(name, arch, defines=None, major=None):
    """(cubin, log), compiled here and now."""
    return _compile(nvrtc.load(major), name, sources(name), _options(arch, defines))


def sources(name):
    """The text of ``name``.cu and of every header it includes, by file name."""
    texts, wanted = {}, [f"{name}.cu"]
    while wanted:
        file = wanted.pop()
        if file not in texts:
            texts[file] = MADE[file]() if file in MADE else (SOURCES / file).read_text(encoding="utf-8")
            wanted += re.findall(r'^#include "([\w.]+)"', texts[file], re.MULTILINE)
    return texts


def cache_folder():
    """Where machine code is kept: FASTNTK_CACHE_DIR, else fastntk/ in the user's cache folder."""
    named = os.environ.get("FASTNTK_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(named) if named else Path(base) / "fastntk") / "cuda"


def _options(arch, defines):
    macros = [f"-D{key}={value}" for key, value in sorted((defines or {}).items())]
    return [f"-arch={arch}", *OPTIONS, *macros]


def _compile(compiler, name, texts, options):
    headers = {file: text for file, text in texts.items() if file != f"{name}.cu"}
    return compiler.compile(texts[f"{name}.cu"], f"{name}.cu", headers, options)


def _digest(version, texts, options):
    return hashlib.sha256(repr((version, sorted(texts.items()), options)).encode()).hexdigest()[:32]


def _read(place):
    """Machine code from a file that begins with its digest; None where it is missing or damaged."""
    try:
        kept = place.read_bytes()
    except OSError:
        return None
    return kept[32:] if kept[:32] == hashlib.sha256(kept[32:]).digest() else None


def _write(place, code):
    """A complete file appears at once, whoever else writes it; where none can be written, none is kept."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=place.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(beside).replace(place)
    except OSError:
        Path(beside).unlink(missing_ok=True)
