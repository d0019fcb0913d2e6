"""The interface that ranks announce is that of the node's address, unless the user has chosen another."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from harness.pools.node_network import announce_node_address, find_interface


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"lo": ["127.0.0.1", "::1"], "eth0": ["02:42:ac:11:00:02", "10.0.0.5"], "ib0": ["10.1.0.5", "fe80::1%ib0"]}
    made = {name: [SimpleNamespace(address=one) for one in addresses] for name, addresses in found.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: made)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        *(("10.0.0.5", "eth0"), ("10.1.0.5", "ib0"), ("fe80::1", "ib0")),
        *(("127.0.0.1", None), ("10.9.9.9", None), ("head", None)),
    ],
)
def test_an_interface_is_found_by_its_address(address: str, name: str | None) -> None:
    assert find_interface(address) == name


def test_it_is_announced_and_what_the_user_set_stays() -> None:
    variables = {"NCCL_SOCKET_IFNAME": "ib0"}
    announce_node_address("10.0.0.5", variables)
    assert variables == {"NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": "eth0"}


def test_loopback_announces_nothing() -> None:
    variables: dict[str, str] = {}
    announce_node_address("127.0.0.1", variables)
    assert variables == {}
