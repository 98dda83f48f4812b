"""A bundle in BentoML's model store: same files, still verified, its manifest shown by BentoML's own command."""

import json
import os
import subprocess
import sys

from benchmarks.server import BENTOML
from precis.bundle.verify import open_bundle
from tests.conftest import ROOT


def test_store_holds_the_bundle_and_its_manifest(tiny_run, tmp_path):
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}

    def run(*command):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    tag = run(sys.executable, "-m", "bento.store", str(tiny_run / "bundle")).splitlines()[-1]
    stored_model = json.loads(run(BENTOML, "models", "get", tag, "--output", "json"))
    manifest = json.loads((tiny_run / "bundle/manifest.json").read_text())
    assert stored_model["labels"]["precision"] == "fp32"
    assert stored_model["labels"]["parity"] == "passed"
    assert stored_model["metadata"]["files"] == manifest["files"]
    assert stored_model["metadata"]["parity"]["documents"] == 64
    name, _, version = tag.partition(":")
    stored = open_bundle(tmp_path / "models" / name / version)  # BentoML adds a file
    assert stored.manifest.as_json() == manifest


def test_missing_bundle_is_not_stored(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bento.store", str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"There is no bundle folder {tmp_path / 'none'}."
