"""EDM's pickles: every tensor met, D as the formulas have it, and nothing of a pickle ever executed."""

from __future__ import annotations

import io
import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.edm_networks import ADM, CONFIGS, small_network
from kit.edm_pickle_kit import Stored, stored_network, write_network, write_pickle
from kit.imports_kit import build_imported, noisy_images, relative_gap
from torch import Tensor

from harness.errors import UsageError
from harness.importers import edm_pickle
from harness.importers.edm_pickle import read
from harness.importers.formats import FORMATS, choose_format
from harness.importers.inert_pickle import PickleRefused, read_inert
from harness.importers.sealed import SealedNetwork, read_sealed

LEVELS = torch.tensor([0.03, 0.5, 3.0, 60.0], dtype=torch.float64)
CLASSES = torch.tensor([4, 0, 5, 2])
BREAKS_OUT: dict[str, Callable[[str], Any]] = {
    "system": lambda place: (os.system, (f"touch {place}",)),
    "mkdir": lambda place: (os.mkdir, (place,)),
    "eval": lambda place: (eval, (f"open({place!r}, 'w').close()",)),
    "exec": lambda place: (exec, (f"open({place!r}, 'w').close()",)),
    "open": lambda place: (open, (place, "w")),
    "getattr": lambda place: (getattr, (dict, "update")),
    "import": lambda place: (__import__, ("os",)),
}


class Hostile:
    """Does what it is given when it is unpickled."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read pickles in this process, where that is quicker and the process is not what is tested."""

    def read_here(path: Path) -> SealedNetwork:
        with path.open("rb") as file:
            found = read_inert(file)
        return SealedNetwork(found.tensors, found.layers, found.classes, found.arguments, sorted(found.sources))

    monkeypatch.setattr(edm_pickle, "read_sealed", read_here)


def denoised(kind: str, wrapper: str, x: Tensor, s: Tensor) -> Tensor:
    """Return D by the published formulas, from our network's F, float64."""
    network = small_network(kind).double()
    network.row_classes = CLASSES
    sigma, wide = s, s[:, None, None, None]
    norm = (1 + wide**2).sqrt()
    if wrapper == "EDMPrecond":
        norm = (0.25 + wide**2).sqrt()
        raw = network.raw(x / norm, sigma.log() / 4)
        return 0.25 / norm**2 * x + wide * 0.5 / norm * raw
    if wrapper == "VEPrecond":
        return x + wide * network.raw(x, (sigma / 2).log())
    if wrapper == "VPPrecond":
        time = ((0.01 + 2 * 19.9 * (1 + sigma**2).log()).sqrt() - 0.1) / 19.9
        return x - wide * network.raw(x / norm, 999 * time)
    nearest = (cosine_levels()[None] - sigma[:, None]).abs().argmin(1)
    return x - wide * network.raw(x / norm, 999.0 - nearest.double())


def cosine_levels() -> Tensor:
    """Return iDDPM's levels u as its formula has them, from the highest to 0, float64 [1001]."""
    u = torch.zeros(1001, dtype=torch.float64)
    share = lambda j: math.sin(math.pi / 2 * j / 1000 / 1.008) ** 2  # noqa: E731
    for j in range(1000, 0, -1):
        u[j - 1] = ((u[j] ** 2 + 1) / max(share(j - 1) / share(j), 0.001) - 1) ** 0.5
    return u


@pytest.mark.parametrize("kind", ["vp", "ve", "adm"])
def test_a_pickle_is_read_in_a_process_of_its_own(tmp_path: Path, kind: str) -> None:
    network = small_network(kind)
    source = write_network(tmp_path / "edm-8x8-cond.pkl", network, CONFIGS[kind])
    assert choose_format(source, None) is FORMATS["edm"]
    found = read(source, {})
    state = network.state_dict()
    assert state.keys() == found.tensors.keys()
    assert all(torch.equal(state[name], value) for name, value in found.tensors.items())
    assert found.family == network.family
    assert (found.origin["weights"], found.origin["classes"]) == ("ema", {"count": 5, "null": False})
    assert found.params["sigma_range"] == [0.002, 80.0]
    assert len(found.origin["source_sha256"]) == 1


@pytest.mark.parametrize("wrapper", ["EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond"])
@pytest.mark.parametrize("kind", ["vp", "adm"])
def test_d_follows_the_class_of_the_wrapper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapper: str, kind: str
) -> None:
    in_process(monkeypatch)
    found = read(write_network(tmp_path / "edm-vp.pkl", small_network(kind), CONFIGS[kind], wrapper=wrapper), {})
    x, ours = noisy_images(LEVELS, 3, 8), build_imported(found)
    ours.row_classes = CLASSES
    assert relative_gap(ours(x, LEVELS), denoised(kind, wrapper, x, LEVELS)) <= 1e-9
    low, high = found.params["sigma_range"]
    wanted = {"EDM": (0.002, 80), "VPP": (0.0010005, 152.167), "VEP": (0.02, 100), "iDD": (0.0064254, 20291)}
    assert (low, high) == pytest.approx(wanted[wrapper[:3]], rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("vp", "attn_resolutions", [8]),
        ("vp", "resample_filter", [2, 1]),
        ("ve", "resample_filter", [3, 1, 1, 3]),
        ("vp", "embedding_type", "fourier"),
    ],
)
def test_fields_change_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, field: str, value: Any
) -> None:
    """A field that the pickle states is the network's: another value gives other names, or other outputs."""
    in_process(monkeypatch)
    options = CONFIGS[kind]
    found = read(write_network(tmp_path / "a.pkl", small_network(kind), options), {})
    changed = read(
        write_network(tmp_path / "b.pkl", small_network(kind, **{field: value}), options | {field: value}), {}
    )
    assert changed.params[field] == value
    if changed.tensors.keys() == found.tensors.keys():
        x = noisy_images(LEVELS, 3, 8)
        assert relative_gap(build_imported(changed)(x, LEVELS), build_imported(found)(x, LEVELS)) > 1e-3


@pytest.mark.parametrize("wrapper", ["EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond"])
def test_constants_of_the_wrapper_are_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapper: str
) -> None:
    in_process(monkeypatch)
    for key, value in edm_pickle._CONSTANTS[wrapper].items():
        changed = {key: 2 if math.isinf(value) else value + 1}
        source = write_network(tmp_path / "a.pkl", small_network("vp"), CONFIGS["vp"], wrapper=wrapper, **changed)
        with pytest.raises(UsageError, match=f"{key} of {wrapper} is "):
            read(source, {})


def test_levels_of_iddpm_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    options = {**ADM, "out_channels": 6}
    for factor in (1.0, 1.01):
        stored = stored_network(small_network("adm", out_channels=6), options, "iDDPMPrecond")
        stored.meta["state"]["_buffers"]["u"] = (factor * cosine_levels()).float()
        source = write_pickle(tmp_path / "a.pkl", stored)
        if factor == 1:
            assert "u" not in read(source, {}).tensors
        else:
            with pytest.raises(UsageError, match="the levels u of iDDPMPrecond are not those"):
                read(source, {})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder_type": "skip"}, "encoder_type"),
        ({"decoder_type": "skip"}, "decoder_type"),
        ({"img_resolution": 16}, "img_resolution of EDMPrecond is 8; the network inside it has 16"),
        ({"magic": 1}, "argument magic = 1 of SongUNet is unknown"),
        ({"label_dim": "five"}, "label_dim"),
    ],
)
def test_arguments_are_a_closed_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], sentence: str
) -> None:
    in_process(monkeypatch)
    stored = stored_network(small_network("vp"), CONFIGS["vp"])
    model = stored.meta["state"]["_modules"]["model"]
    model.meta["state"]["_init_kwargs"] |= changes
    with pytest.raises(UsageError, match=sentence):
        read(write_pickle(tmp_path / "a.pkl", stored), {})


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        ("", "num_heads", 2),
        ("", "skip_scale", 1.0),
        ("", "adaptive_scale", True),
        ("norm0", "eps", 1e-5),
        ("norm0", "num_groups", 2),
        ("conv1", "up", True),
        ("conv1", "down", True),
        ("conv1", "fused_resample", True),
    ],
)
def test_settings_of_layers_without_a_shape_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str, key: str, value: Any
) -> None:
    in_process(monkeypatch)
    stored = stored_network(small_network("vp"), CONFIGS["vp"])
    decoder = stored.meta["state"]["_modules"]["model"].meta["state"]["_modules"]["dec"]
    block = decoder._modules["4x4_in0"].meta["state"]
    (block["_modules"][layer].meta["state"] if layer else block)[key] = value
    with pytest.raises(UsageError, match=f"{key} of model.dec.4x4_in0.* is {value}; supported is "):
        read(write_pickle(tmp_path / "a.pkl", stored), {})


def test_every_setting_of_a_layer_is_tried() -> None:
    tried = {"num_heads", "skip_scale", "adaptive_scale", "eps", "num_groups", "up", "down", "fused_resample"}
    assert set(edm_pickle._OF_LAYERS) == tried


def refused(path: Path) -> str:
    """Return why a pickle is refused."""
    with path.open("rb") as file, pytest.raises(PickleRefused) as error:
        read_inert(file)
    return str(error.value)


def test_other_layouts_and_classes_are_refused_by_name(tmp_path: Path) -> None:
    network, path = small_network("vp"), tmp_path / "a.pkl"
    for name in ("Precond", "MPConv"):
        assert f"EDM2 (class {name})" in refused(write_pickle(path, stored_network(network, CONFIGS["vp"], name)))
    assert "its class 'Generator' is none of" in refused(write_pickle(path, Stored("Generator", {})))
    assert "layout version 5" in refused(write_pickle(path, Stored("EDMPrecond", {}, version=5)))
    assert 'no network under "ema"' in refused(write_pickle(path, {"G_ema": Stored("EDMPrecond", {})}))
    assert 'no network under "ema"' in refused(write_pickle(path, {"ema": {"a": 1}}))
    path.write_bytes(pickle.dumps([1, 2]))
    assert "holds no dictionary" in refused(path)


@pytest.mark.parametrize("way", BREAKS_OUT)
def test_what_a_hostile_pickle_names_is_not_called(tmp_path: Path, way: str) -> None:
    """Beside the network, in its state, in its arguments and in the bytes of a tensor."""
    place = tmp_path / "trace"
    hostile = Hostile(BREAKS_OUT[way](str(place)))
    network = stored_network(small_network("vp"), CONFIGS["vp"])
    assert "has no place in a network" in refused(
        write_pickle(tmp_path / "a.pkl", {"ema": network, "loss_fn": hostile})
    )
    assert "has no place in a network" in refused(write_pickle(tmp_path / "b.pkl", {"ema": hostile}))
    network.meta["state"]["_init_kwargs"]["sigma_min"] = hostile
    assert "has no place in a network" in refused(write_pickle(tmp_path / "c.pkl", network))

    # inside a tensor's own bytes
    inner = io.BytesIO()
    torch.save({"a": hostile}, inner)
    load = Hostile((torch.storage._load_from_bytes, (inner.getvalue(),)))
    (tmp_path / "d.pkl").write_bytes(pickle.dumps({"ema": load}))
    with (tmp_path / "d.pkl").open("rb") as file, pytest.raises(pickle.UnpicklingError):
        read_inert(file)
    assert not place.exists()


def test_hostile_files_leave_no_trace_in_the_process(tmp_path: Path) -> None:
    """Source texts are never run; a bomb of memory and a torn file end in one sentence."""
    place, path = tmp_path / "trace", tmp_path / "a.pkl"
    network = small_network("vp")
    source = f"open({str(place)!r}, 'w').close()\nimport os\nos.system('touch {place}')\n"
    stored = stored_network(network, CONFIGS["vp"])
    stored.meta["module_src"] = source
    assert len(read(write_pickle(path, stored), {}).origin["source_sha256"]) == 2
    write_pickle(path, {"ema": stored, "other": Hostile((os.system, (f"touch {place}",)))})
    with pytest.raises(UsageError, match=r"is refused: it names posix\.system.*nothing of this one ran"):
        read(path, {})
    assert not place.exists()

    # a tensor of 2^50 numbers from one
    stored.meta["state"]["_buffers"]["bomb"] = torch.ones(1).expand(1 << 25, 1 << 25)
    with pytest.raises(UsageError, match=r"is refused: |was not read within its limits"):
        read_sealed(write_pickle(path, stored))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UsageError, match="is refused: "):
        read_sealed(path)


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = write_network(tmp_path / "a.pkl", small_network("vp"), CONFIGS["vp"])
    with pytest.raises(UsageError, match=r"was not read within 0\.01 seconds"):
        read_sealed(path, seconds=0.01)


def test_number_formats_are_widened_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    network = small_network("vp")
    half = write_network(tmp_path / "a.pkl", small_network("vp").to(torch.bfloat16), CONFIGS["vp"])
    found = read(half, {})
    assert "bfloat16" in found.origin["dtype"]
    assert {value.dtype for value in found.tensors.values()} == {torch.float32}
    stored = stored_network(network, CONFIGS["vp"])
    parameters: OrderedDict[str, Any] = (
        stored.meta["state"]["_modules"]["model"].meta["state"]["_modules"]["map_layer0"].meta["state"]["_parameters"]
    )
    for bad, sentence in (
        (torch.full((64, 16), math.nan), "not finite"),
        (torch.zeros(64, 16, dtype=torch.int8), "of type int8"),
        (torch.zeros(64, 16).to(torch.float8_e4m3fn), "_rebuild_tensor_v3"),
    ):
        parameters["weight"] = bad
        with pytest.raises((UsageError, PickleRefused), match=sentence):
            read(write_pickle(tmp_path / "b.pkl", stored), {})


def test_statements_are_a_closed_list(tmp_path: Path) -> None:
    source = write_network(tmp_path / "a.pkl", small_network("vp"), CONFIGS["vp"])
    with pytest.raises(UsageError, match='takes no statement "process"'):
        read(source, {"process": "vp"})
    with pytest.raises(UsageError, match="averaged weights alone"):
        read(source, {"weights": "raw"})
