#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/. Run by make lock, from the project's environment.
#   cpu.txt, gpu.txt               the whole environment
#   serve-cpu.txt, serve-cuda.txt   what an image contains, with the hash of every file
set -euo pipefail
cd "$(dirname "$0")/.."

resolve() { # NAME, then uv's arguments
  .venv/bin/uv pip compile --quiet --system-certs pyproject.toml "${@:2}" --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --output-file "requirements/$1.txt"
}

rest=(--extra train --extra serve --extra bulk --extra bench --extra dev)
resolve gpu --extra gpu "${rest[@]}"
# The other locks use the versions of the first one.
shared=$(mktemp)
trap 'rm -f "$shared"' EXIT
grep -v '^onnxruntime' requirements/gpu.txt > "$shared"
resolve cpu --extra cpu "${rest[@]}" --constraints "$shared"
# One lock serves every build of torch, which tools/env.sh chooses; what only the CUDA builds need (three gigabytes) is
# left out. (nvidia-ml-py belongs to BentoML and is small.)
sed -i -E '/^nvidia-ml-py==/! { /^(nvidia|cuda)-|^triton==/d }' requirements/cpu.txt
resolve serve-cpu --extra cpu --extra serve --constraints "$shared" --generate-hashes
resolve serve-cuda --extra cuda --extra serve --constraints "$shared" --generate-hashes
