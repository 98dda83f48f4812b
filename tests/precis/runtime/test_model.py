"""Devices that are not available, and ONNX Runtime's telemetry."""

import os
import subprocess
import sys

import pytest

from precis import Engine, EngineError
from precis.runtime import ort
from tests.conftest import ROOT


def test_device_that_is_not_available_is_an_error_not_a_fallback(bundle):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="CUDAExecutionProvider"):
        Engine.load(bundle, device="cuda")


@pytest.mark.parametrize("module", ["precis.engine", "precis.runtime.placement"])
def test_onnx_runtime_stores_no_telemetry_identity(tmp_path, module):
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
