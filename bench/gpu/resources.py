"""What the compiler makes of every kernel: registers, shared memory, spills, instructions.  No GPU is needed.

``python -m bench.gpu --compile`` prints the table; with ``--write`` it goes to docs/gpu.md, between markers.
Instructions are counted as they stand in the machine code, loops once, where nvdisasm is found (a CUDA
toolkit's, or pip install nvidia-cuda-nvdisasm).
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from fastntk.kernels.cuda import coactivation, forward_bf16, nvrtc, tables
from fastntk.kernels.cuda import compile as compiling

from . import lab

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- kernels: begin -->", "<!-- kernels: end -->"
ARCHITECTURES = {"sm_80": "A100", "sm_90a": "H100, H200", "sm_100a": "B200"}
MODULES = (*sorted(file.stem for file in compiling.SOURCES.glob("*.cu")), lab.PEAKS)

# What is counted, by the first letters of the instructions' names.  (An fp32 multiply-add can be FFMA2: two.)
ALL = "instructions"
GROUPS = {
    "tensor": ("IMMA", "BMMA", "HMMA", "IGMMA", "BGMMA", "HGMMA"),
    "fma": ("FFMA",),
    "fma64": ("DFMA",),
    "from shared": ("LDS",),
    "to shared": ("STS", "LDGSTS"),
    "barriers": ("BAR",),
}
COMPILED = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)",
    re.DOTALL,
)
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", re.MULTILINE)
SECTION = re.compile(r"^\s*\.section\s+\.text\.(\w+)", re.MULTILINE)


class Resources(NamedTuple):
    """A kernel on an architecture."""

    module: str
    kernel: str
    arch: str
    registers: int
    shared_bytes: int  # with what is given at the launch
    local_bytes: int  # spills and stack
    instructions: dict | None  # by group, and ALL of them; None where nothing disassembles

    @property
    def columns(self):
        """{heading: number}."""
        memory = {
            "registers": self.registers,
            "shared bytes": self.shared_bytes,
            "local bytes": self.local_bytes,
        }
        return memory | (self.instructions or {})


def defines_of(module, arch):
    """Macros that a source is compiled with."""
    return {"STAGES": stages_of(arch)} if module == "coactivation" else None


def stages_of(arch):
    return tables.COUNTING.get(arch, tables.OTHER_COUNTING).stages


def shared_at_launch(kernel, arch):
    """Bytes of shared memory beside what the kernel declares."""
    if kernel == "forward_bf16":
        return forward_bf16.STAGES * forward_bf16.STAGE_BYTES
    return stages_of(arch) * coactivation.STAGE_BYTES if kernel.startswith("count_") else 0


def disassembler():
    """The path of nvdisasm, or None."""
    found = shutil.which("nvdisasm")
    for package in ("nvidia-cuda-nvdisasm", "nvidia-cuda-nvcc"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        found = found or next((str(file.locate()) for file in files if file.name == "nvdisasm"), None)
    return found


def count_instructions(text):
    """{kernel: {group: how many}} of what nvdisasm prints."""
    counts = {}
    _, *parts = SECTION.split(text)
    for kernel, code in zip(parts[::2], parts[1::2], strict=True):
        names = Counter(INSTRUCTION.findall(code))
        names.pop("NOP", None)
        of = {
            group: sum(names[name] for name in names if name.startswith(first))
            for group, first in GROUPS.items()
        }
        counts[kernel] = {ALL: names.total(), **of}
    return counts


def disassembled(cubin, tool):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernels.cubin"
        file.write_bytes(cubin)
        done = subprocess.run([tool, "-c", str(file)], capture_output=True, text=True, check=True)
    return count_instructions(done.stdout)


def resources_of(module, arch, tool):
    """All kernels of a source, in the order of their names."""
    cubin, log = lab.build(module, arch, defines_of(module, arch))
    counts = disassembled(cubin, tool) if tool else {}
    found = []
    for kernel, *memory, registers, rest in sorted(COMPILED.findall(log)):
        static = re.search(r"(\d+) bytes smem", rest)
        shared = shared_at_launch(kernel, arch) + (int(static[1]) if static else 0)
        found.append(
            Resources(module, kernel, arch, int(registers), shared, sum(map(int, memory)), counts.get(kernel))
        )
    return found


def report(architectures=ARCHITECTURES):
    """[Resources] of every kernel, those of an architecture together."""
    tool = disassembler()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(resources_of, module, arch, tool) for arch in architectures for module in MODULES]
        return [one for job in jobs for one in job.result()]


def table(found):
    """Markdown: a line for each kernel, with a number for each architecture where these differ."""
    kernels = {}
    for one in found:
        kernels.setdefault((one.module, one.kernel), {})[one.arch] = one.columns
    heads = list(found[0].columns)
    lines = ["| source | kernel | " + " | ".join(heads) + " |", "|---|---" + "|---" * len(heads) + "|"]
    for (module, kernel), by_arch in sorted(kernels.items(), key=lambda item: MODULES.index(item[0][0])):
        values = [[str(columns[head]) for columns in by_arch.values()] for head in heads]
        cells = (one[0] if len(set(one)) == 1 else " / ".join(one) for one in values)
        lines.append(f"| {module} | {kernel} | " + " | ".join(cells) + " |")
    version = ".".join(map(str, nvrtc.load().version))
    architectures = " / ".join(
        f"{arch} ({ARCHITECTURES[arch]})" for arch in dict.fromkeys(one.arch for one in found)
    )
    return f"NVRTC {version}, for {architectures}:\n\n" + "\n".join(lines)


def with_table(page, text):
    """The page with everything between the markers replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE} has no {BEGIN} ... {END}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main(write):
    try:
        nvrtc.load()
    except ImportError as error:
        print(error)
        return 2
    found = report()
    text = table(found)
    print(text)
    if disassembler() is None:
        print("\nno nvdisasm: instructions are not counted (pip install nvidia-cuda-nvdisasm)")
    if write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
        print(f"\nwritten: {PAGE}")
    spilled = [one for one in found if one.local_bytes]
    for one in spilled:
        print(f"\n{one.kernel} for {one.arch} keeps {one.local_bytes} bytes in local memory")
    return int(bool(spilled))
