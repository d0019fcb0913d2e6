"""Names of devices: processors by model or by numbers, GPUs by memory and slice, fake ones always called so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.measure.arm_names import IMPLEMENTERS, PARTS, name_arm_processor
from harness.measure.device_names import (
    FAKE,
    FAKE_DEVICE,
    cpu_name,
    device_name,
    fake_device_name,
    is_mig_slice,
    name_gpu,
    name_processor,
)

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
GIB = 1 << 30
INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R)  Xeon(R) CPU @ 2.00GHz\nCPU part\t: 0xd0c\n"


def arm(*cores: tuple[str, str]) -> str:
    """Return the text of /proc/cpuinfo of an ARM system with these cores, by implementer and part."""
    entry = (
        "processor\t: {n}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: {who}\nCPU architecture: 8\n"
        "CPU variant\t: 0x3\nCPU part\t: {what}\nCPU revision\t: 1\n\n"
    )
    return "".join(entry.format(n=n, who=who, what=what) for n, (who, what) in enumerate(cores))


@pytest.mark.parametrize(
    ("cores", "name"),
    [
        ([("0x41", "0xd0c")] * 4, "ARM Neoverse-N1 (aarch64)"),
        ([("0x41", "0xd40")], "ARM Neoverse-V1 (aarch64)"),
        ([("0x41", "0xd4f")] * 2, "ARM Neoverse-V2 (aarch64)"),
        ([("0xc0", "0xac3")], "Ampere Ampere-1 (aarch64)"),
        ([("0x46", "0x001")], "Fujitsu A64FX (aarch64)"),
        ([("0x48", "0xd01")], "HiSilicon Kunpeng-920 (aarch64)"),
        ([("0x41", "0xd05")] * 4 + [("0x41", "0xd0b")] * 4, "ARM Cortex-A55 + ARM Cortex-A76 (aarch64)"),
        ([("0x41", "0xd0b"), ("0x41", "0xd05")], "ARM Cortex-A55 + ARM Cortex-A76 (aarch64)"),
        ([("0x41", "0xfff")], "ARM part 0xfff (aarch64)"),
        ([("0x99", "0xd0c")], "implementer 0x99 part 0xd0c (aarch64)"),
        ([("0x99", "0x001")], "implementer 0x99 part 0x001 (aarch64)"),
    ],
)
def test_arm_processors_are_named_by_implementer_and_part(cores: list[tuple[str, str]], name: str) -> None:
    assert name_arm_processor(arm(*cores), "aarch64") == name == name_processor(arm(*cores), "aarch64", "aarch64")


def test_parts_of_one_number_by_two_makers_are_two_names() -> None:
    names = {name_arm_processor(arm((f"{who:#x}", "0xd49")), "aarch64") for who in (0x41, 0x6D, 0x48)}
    assert names == {
        "ARM Neoverse-N2 (aarch64)",
        "Microsoft Azure-Cobalt-100 (aarch64)",
        "HiSilicon part 0xd49 (aarch64)",
    }


def test_the_tables_hold_a_maker_for_all_parts_and_no_name_twice() -> None:
    assert set(PARTS) <= set(IMPLEMENTERS)
    for parts in PARTS.values():
        assert len(set(parts.values())) == len(parts)


def test_a_model_name_comes_first_and_without_any_there_is_the_architecture() -> None:
    assert name_processor(INTEL, "x86_64") == "Intel(R) Xeon(R) CPU @ 2.00GHz"
    assert name_processor("", "riscv64") == "riscv64"
    assert name_processor("", "arm64", "arm") == "arm"
    assert name_processor("processor\t: 0\nCPU part\t: 0xd0c\n", "aarch64") == "aarch64"  # a part of nobody


@pytest.mark.parametrize(
    ("name", "gib", "is_slice", "named"),
    [
        ("NVIDIA H100 80GB HBM3", 79.1, False, "NVIDIA H100 80GB HBM3"),
        ("NVIDIA A100-SXM4-40GB", 39.4, False, "NVIDIA A100-SXM4-40GB"),
        ("NVIDIA GeForce RTX 3060", 11.8, False, "NVIDIA GeForce RTX 3060 (12 GiB)"),
        ("NVIDIA GeForce RTX 3060", 7.9, False, "NVIDIA GeForce RTX 3060 (8 GiB)"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4.8, True, "NVIDIA A100-SXM4-40GB MIG 1g.5gb"),
        ("NVIDIA A100-SXM4-40GB", 4.8, True, "NVIDIA A100-SXM4-40GB MIG slice (14 multiprocessors, 5 GiB)"),
    ],
)
def test_gpus_that_differ_in_memory_and_slices_have_other_names(
    name: str, gib: float, is_slice: bool, named: str
) -> None:
    assert name_gpu(name, int(gib * GIB), 14, is_slice) == named


def test_a_slice_is_known_by_the_visible_devices() -> None:
    assert is_mig_slice("MIG-7a9c", 0)
    assert is_mig_slice("0, MIG-7a9c", 1)
    assert not is_mig_slice("0,MIG-7a9c", 0)
    assert not is_mig_slice("GPU-12,GPU-13", 1)
    assert not is_mig_slice(None, 0)
    assert not is_mig_slice("MIG-7a9c", 3)


def test_this_machine_has_a_name_of_one_line() -> None:
    assert device_name(CPU) == cpu_name() == " ".join(cpu_name().split())
    assert cpu_name()


def test_fake_devices_are_called_fake_wherever_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake_device_name() == ""
    monkeypatch.setenv(FAKE_DEVICE, " H100 ")
    assert device_name(CPU) == fake_device_name() == f"{FAKE}H100 on {cpu_name()}"
    monkeypatch.setenv(FAKE_DEVICE, " ")
    assert device_name(CPU) == cpu_name()


def test_naming_a_processor_imports_no_torch() -> None:
    code = (
        "import sys; from harness.measure.device_names import device_name; from types import SimpleNamespace as S; "
        "assert device_name(S(type='cpu')); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
