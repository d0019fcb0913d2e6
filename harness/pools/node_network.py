"""Which network interface the ranks of a group announce: that of the address by which Ray knows their node.

Left alone, Gloo announces what the host's own name resolves to, which is 127.0.0.1 or nothing unless each host has an
entry for itself, and NCCL takes the first interface that it likes.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import MutableMapping

import psutil


def announce_node_address(address: str, variables: MutableMapping[str, str] = os.environ) -> None:
    """Set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME of this process to the interface that has an IP address.

    What the user has set stays. A loopback address, or one that no interface here has, changes nothing.
    """
    name = find_interface(address)
    if name is not None:
        variables.setdefault("GLOO_SOCKET_IFNAME", name)
        variables.setdefault("NCCL_SOCKET_IFNAME", f"={name}")  # exactly this one: by default a prefix


def find_interface(address: str) -> str | None:
    """Return the interface of this host that has an IP address; None for loopback, or where none has it."""
    wanted = _ip(address)
    if wanted is None or wanted.is_loopback:
        return None
    for name, entries in sorted(psutil.net_if_addrs().items()):
        if any(_ip(entry.address) == wanted for entry in entries):
            return name
    return None


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])  # without the zone
    except ValueError:
        return None
