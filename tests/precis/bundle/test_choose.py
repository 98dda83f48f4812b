"""Which of a run's bundles a device gets, and which it refuses."""

import json

import pytest

from precis.bundle.choose import PRECISIONS, bundle_folder, check_precision, choose_bundle
from precis.errors import BundleError


def write_bundle(folder, precision):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"precision": precision}))
    return folder


@pytest.mark.parametrize(
    ("device", "present", "expected"),
    [
        ("cpu", ["fp32", "int8", "fp16"], "int8"),
        ("cuda", ["fp32", "int8", "fp16"], "fp16"),
        ("cpu", ["fp32", "fp16"], "fp32"),
        ("cuda", ["fp32", "int8"], "fp32"),
        ("tpu", ["fp32", "int8", "fp16"], "fp32"),
        ("cpu", [], "fp32"),
    ],
)
def test_a_device_gets_the_first_precision_that_is_there(tmp_path, device, present, expected):
    for precision in present:
        write_bundle(bundle_folder(tmp_path, precision), precision)
    assert choose_bundle(tmp_path, device) == bundle_folder(tmp_path, expected)


def test_a_bundle_itself_is_chosen_for_any_device(tmp_path):
    folder = write_bundle(tmp_path / "bundle-int8", "int8")
    assert {choose_bundle(folder, device) for device in ("cpu", "cuda")} == {folder}


@pytest.mark.parametrize("device", PRECISIONS)
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16", None])
def test_a_precision_for_another_device_is_refused(tmp_path, device, precision):
    folder = write_bundle(tmp_path / "bundle", precision)
    if precision in (None, *PRECISIONS[device]):
        check_precision(folder, device)
    else:
        with pytest.raises(BundleError, match=rf"an {precision} bundle; the device {device} takes"):
            check_precision(folder, device)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_manifest_that_cannot_be_read_is_left_to_opening(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    check_precision(tmp_path, "cpu")
