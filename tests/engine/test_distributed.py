from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from mien.engine.distributed import process_group
from mien.errors import OptionError


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    text = r"expected a GPU of number 1 .*got 1 GPUs\. Take --device cpu"
    with pytest.raises(OptionError, match=text), process_group("cuda"):
        pass


def test_each_process_sets_its_gpu_before_the_group_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(dist, "init_process_group", done.append)
    monkeypatch.setattr(dist, "barrier", lambda: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with process_group("cuda") as group:
        assert group.device == torch.device("cuda", 1)
    assert done == [torch.device("cuda", 1), "nccl"]
