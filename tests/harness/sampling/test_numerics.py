"""Number formats and threads: fixed for a block, as they were after it."""

import pytest
import torch

from harness.sampling.numerics import fixed_numerics


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_settings_are_as_before_after_the_block(device: str) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = torch.get_num_threads(), matmul.fp32_precision, cudnn.benchmark, cudnn.deterministic
    with fixed_numerics(torch.device(device), before[0] + 2):
        assert torch.get_num_threads() == before[0] + 2
        if device == "cuda":
            assert (matmul.fp32_precision, cudnn.deterministic) == ("ieee", True)
    assert (torch.get_num_threads(), matmul.fp32_precision, cudnn.benchmark, cudnn.deterministic) == before


def test_threads_are_as_before_where_the_block_raises() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), fixed_numerics(torch.device("cpu"), before + 2):
        raise KeyError
    assert torch.get_num_threads() == before
