#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/, for every platform at once and with the hash of every file. Run by make lock.
#   train-cpu.txt, train-cuda.txt   fine-tuning, export, tests and linters (the first with torch-cpu.txt, which is kept by hand)
#   serve-cpu.txt, serve-cuda.txt   what an image contains
#   test.txt                        what tests of the service need besides
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() { # NAME, then uv's arguments
  .venv/bin/uv pip compile --quiet --system-certs pyproject.toml "${@:2}" --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --output-file "requirements/$1.txt"
}

drop_cuda() { # NAME: without what only torch's CUDA builds need, three gigabytes
  awk '/^[a-z]/ { cuda = /^(nvidia|cuda|triton)/ && !/^nvidia-ml-py/ } !cuda' "requirements/$1.txt" > "$pins/$1"
  mv "$pins/$1" "requirements/$1.txt"
}

pins=$(mktemp -d)
trap 'rm -rf "$pins"' EXIT
train=(--extra train --extra bulk --extra bench --extra test --extra lint)
resolve train-cuda --extra gpu "${train[@]}"
# The same versions, without torch.
grep -oE '^[a-z][^\\]*' requirements/train-cuda.txt | grep -v '^onnxruntime' > "$pins/train"
resolve train-cpu --extra cpu "${train[@]}" --no-emit-package torch --constraints "$pins/train"
drop_cuda train-cpu

resolve serve-cpu --extra serve --extra cpu
resolve test --extra test --extra bulk --constraints requirements/serve-cpu.txt
# One set of CUDA libraries for training and serving: those of torch.
grep '^nvidia-' "$pins/train" > "$pins/cuda"
grep -oE '^[a-z][^\\]*' requirements/serve-cpu.txt | grep -vE '^(onnxruntime|nvidia-)' > "$pins/serve"
resolve serve-cuda --extra serve --extra cuda --constraints "$pins/cuda" --constraints "$pins/serve"
# What trains, on the newest transformers.
resolve next --extra train --extra next --extra cpu --extra test --no-emit-package torch --overrides requirements/next.in
drop_cuda next
