"""The bundle in BentoML's model store: same files, still verified, manifest readable by BentoML's own command."""

import json
import os
import subprocess
import sys

from benchmarks.server import BENTOML
from precis.bundle.verify import open_bundle
from tests.conftest import ROOT


def test_the_store_holds_the_bundle_with_its_manifest(tiny_run, tmp_path):
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}

    def run(*command):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    tag = run(sys.executable, "-m", "bento.store", str(tiny_run / "bundle")).splitlines()[-1]
    told = json.loads(run(BENTOML, "models", "get", tag, "--output", "json"))
    manifest = json.loads((tiny_run / "bundle/manifest.json").read_text())
    assert told["labels"]["precision"] == "fp32"
    assert told["labels"]["parity"] == "passed"
    assert told["metadata"]["files"] == manifest["files"]
    assert told["metadata"]["parity"]["documents"] == 64
    name, _, version = tag.partition(":")
    stored = open_bundle(tmp_path / "models" / name / version)  # with the file that BentoML adds
    assert stored.manifest.as_json() == manifest


def test_a_spoiled_bundle_is_not_stored(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bento.store", str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"There is no bundle folder {tmp_path / 'none'}."
