#!/usr/bin/env bash
# Prints for every lock, platform and version of Python whether it can be installed there. Run by make resolve.
# torch-cpu.txt is looked for on macOS only, because its Linux builds are on PyTorch's own index.
set -uo pipefail
cd "$(dirname "$0")/.."
export MACOSX_DEPLOYMENT_TARGET=14.0 # of aarch64-apple-darwin
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

check() { # PLATFORM LOCK...
  local platform=$1 version result problem
  shift
  for version in 3.11 3.12 3.13; do
    result=yes
    # rouge-score has no wheel.
    problem=$(.venv/bin/uv pip install --dry-run --quiet --system-certs --require-hashes --no-deps --only-binary :all: \
      --no-binary rouge-score --target "$scratch" --python-version "$version" --python-platform "$platform" \
      "${@/#/--requirements=requirements/}" 2>&1) || { result="no: ${problem//$'\n'/ }" failed=1; }
    echo "| $* | $platform | $version | $result |"
  done
}

echo "| locks | platform | Python | can be installed |"
echo "|---|---|---|---|"
for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
  check $platform train-cpu.txt
  check $platform serve-cpu.txt test.txt
  check $platform next.txt
done
check aarch64-apple-darwin torch-cpu.txt
check x86_64-manylinux_2_28 train-cuda.txt
check x86_64-manylinux_2_28 serve-cuda.txt
exit $failed
