"""The report of the compiler, and the table of it in docs/gpu.md."""

import re

import pytest

from .. import emulator

LOG = """ptxas info    : Compiling entry function 'add' for 'sm_80'
ptxas info    : Function properties for add
    0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 29 registers, used 1 barriers, 640 bytes smem, 376 bytes cmem[0]
"""
LISTING = """
\t.section\t.text.add,"ax",@progbits
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/               @P0 FFMA R2, R3, R4, R5 ;
        /*0020*/              @!P1 FFMA.FTZ R2, R3, R4, R5 ;
        /*0030*/                   NOP;
"""


def test_the_report_of_the_compiler(part, monkeypatch):
    resources = part("resources")
    monkeypatch.setattr(resources.lab, "build", lambda *_: (b"", LOG))
    counted = resources.count_instructions(LISTING)
    assert counted["add"] == dict.fromkeys(resources.GROUPS, 0) | {"instructions": 3, "fma": 2}
    (found,) = resources.resources_of("sums", "sm_80", None)
    assert (found.kernel, found.registers, found.shared_bytes, found.local_bytes) == ("add", 29, 640, 12)
    assert found.instructions is None


@pytest.fixture
def resources(part, compiler):
    return part("resources")


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_peaks_compile(resources, arch):
    found = resources.resources_of("peaks", arch, None)
    source = resources.lab.sources("peaks")["peaks.cu"]
    assert [one.kernel for one in found] == sorted(emulator.KERNEL.findall(source))
    assert {one.local_bytes for one in found} == {0}


def test_the_table(resources):
    found = [
        resources.Resources("sums", "add", arch, registers, 640, 0, None)
        for arch, registers in (("sm_80", 29), ("sm_90a", 30))
    ]
    assert resources.table(found).endswith("| sums | add | 29 / 30 | 640 | 0 |")
    page = f"before {resources.BEGIN} old {resources.END} after"
    assert resources.with_table(page, "new") == f"before {resources.BEGIN}\nnew\n{resources.END} after"


def test_the_page_has_every_kernel(part):
    resources = part("resources")
    page = (
        resources.PAGE.read_text(encoding="utf-8").partition(resources.BEGIN)[2].partition(resources.END)[0]
    )
    shown = set(re.findall(r"^\| (\w+) \| (\w+) \|", page, re.MULTILINE)) - {("source", "kernel")}
    assert shown == {
        (name, kernel)
        for name in resources.MODULES
        for kernel in emulator.KERNEL.findall(resources.lab.sources(name)[f"{name}.cu"])
    }, "run python -m bench.gpu --compile --write"


@pytest.mark.soak
def test_the_page_is_what_the_compiler_says(resources):
    if resources.disassembler() is None:
        pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    page = resources.PAGE.read_text(encoding="utf-8")
    assert resources.with_table(page, resources.table(resources.report())) == page
