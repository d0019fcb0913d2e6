"""ARM processors by implementer and part: Linux gives them as numbers where x86 gives a model's name.

The numbers are those of the register MIDR_EL1, as `/proc/cpuinfo` prints them ("CPU implementer", "CPU part"). Names
are those of the makers' manuals and of the Linux kernel's arch/arm64/include/asm/cputype.h.
"""

from __future__ import annotations

import re

IMPLEMENTERS = {
    0x41: "ARM", 0x42: "Broadcom", 0x43: "Cavium", 0x46: "Fujitsu", 0x48: "HiSilicon", 0x4E: "NVIDIA", 0x50: "APM",
    0x51: "Qualcomm", 0x53: "Samsung", 0x56: "Marvell", 0x61: "Apple", 0x66: "Faraday", 0x69: "Intel",
    0x6D: "Microsoft", 0x70: "Phytium", 0xC0: "Ampere",
}  # fmt: skip
PARTS = {
    0x41: {
        0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD06: "Cortex-A65", 0xD07: "Cortex-A57",
        0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1",
        0xD0D: "Cortex-A77", 0xD0E: "Cortex-A76AE", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD42: "Cortex-A78AE",
        0xD43: "Cortex-A65AE", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD48: "Cortex-X2",
        0xD49: "Neoverse-N2", 0xD4A: "Neoverse-E1", 0xD4B: "Cortex-A78C", 0xD4C: "Cortex-X1C", 0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520", 0xD81: "Cortex-A720", 0xD82: "Cortex-X4",
        0xD84: "Neoverse-V3", 0xD85: "Cortex-X925", 0xD87: "Cortex-A725", 0xD8E: "Neoverse-N3",
    },
    0x42: {0x516: "ThunderX2"},
    0x43: {0x0A0: "ThunderX", 0x0A1: "ThunderX-88XX", 0x0AF: "ThunderX2-99xx", 0x0B8: "ThunderX3-T110"},
    0x46: {0x001: "A64FX", 0x003: "MONAKA"},
    0x48: {0xD01: "Kunpeng-920", 0xD02: "TaiShan-v120"},
    0x4E: {0x000: "Denver", 0x003: "Denver 2", 0x004: "Carmel"},
    0x50: {0x000: "X-Gene"},
    0x51: {0x001: "Oryon", 0xC00: "Falkor", 0xC01: "Saphira"},
    0x61: {
        0x022: "Icestorm-M1", 0x023: "Firestorm-M1", 0x024: "Icestorm-M1-Pro", 0x025: "Firestorm-M1-Pro",
        0x028: "Icestorm-M1-Max", 0x029: "Firestorm-M1-Max", 0x032: "Blizzard-M2", 0x033: "Avalanche-M2",
    },
    0x6D: {0xD49: "Azure-Cobalt-100"},
    0x70: {0x660: "FTC660", 0x661: "FTC661", 0x662: "FTC662", 0x663: "FTC663"},
    0xC0: {0xAC3: "Ampere-1", 0xAC4: "Ampere-1a"},
}  # fmt: skip
"""Processor cores by the implementer's number and the part's."""
_ENTRY = re.compile(r"^CPU (implementer|part)\s*:\s*(0x[0-9a-f]+|\d+)\s*$", re.IGNORECASE | re.MULTILINE)


def name_arm_processor(cpuinfo: str, machine: str) -> str:
    """Return the name of an ARM processor by the text of `/proc/cpuinfo`; "" where that names no part.

    `machine` is the architecture, such as aarch64. Kinds of cores that differ are joined by "+", in the order of
    their numbers. What the tables do not hold is given by its numbers, so that other parts have other names.
    """
    found: list[tuple[int, int]] = []
    implementer = None
    for key, number in _ENTRY.findall(cpuinfo):
        if key.lower() == "implementer":
            implementer = int(number, 0)
        elif implementer is not None:
            found.append((implementer, int(number, 0)))
    if not found:
        return ""
    return f"{' + '.join(_name_part(*one) for one in sorted(set(found)))} ({machine})"


def _name_part(implementer: int, part: int) -> str:
    maker = IMPLEMENTERS.get(implementer, f"implementer 0x{implementer:02x}")
    return f"{maker} {PARTS.get(implementer, {}).get(part, f'part 0x{part:03x}')}"
