#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/. Run by make lock, from the project's environment.
#   cpu.txt, gpu.txt               the whole environment
#   serve-cpu.txt, serve-cuda.txt   what an image holds, with the hashes of every file
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() { # NAME, then uv's arguments
  .venv/bin/uv pip compile --quiet --system-certs pyproject.toml "${@:2}" --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --output-file "requirements/$1.txt"
}

rest=(--extra train --extra serve --extra bulk --extra bench --extra dev)
resolve gpu --extra gpu "${rest[@]}"
# The others take what the first one took.
shared=$(mktemp)
trap 'rm -f "$shared"' EXIT
grep -v '^onnxruntime' requirements/gpu.txt > "$shared"
resolve cpu --extra cpu "${rest[@]}" --constraints "$shared"
# One lock for all builds of torch, which is chosen where it is installed; left out is what only the CUDA builds ask for,
# three gigabytes of it. (nvidia-ml-py is BentoML's, and small.)
sed -i -E '/^nvidia-ml-py==/! { /^(nvidia|cuda)-|^triton==/d }' requirements/cpu.txt
resolve serve-cpu --extra cpu --extra serve --constraints "$shared" --generate-hashes
resolve serve-cuda --extra cuda --extra serve --constraints "$shared" --generate-hashes
