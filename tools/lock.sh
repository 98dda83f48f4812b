#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/cpu.txt, gpu.txt and serve.txt. Run by make lock, from the project's environment.
set -euo pipefail
cd "$(dirname "$0")/.."
links=${PIP_FIND_LINKS:-$(.venv/bin/pip config get global.find-links 2>/dev/null || true)}
[ -z "$links" ] || export UV_FIND_LINKS="$links"

resolve() { # NAME, then uv's arguments
  .venv/bin/uv pip compile --quiet --system-certs pyproject.toml "${@:2}" --python-version 3.11 --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --output-file "requirements/$1.txt"
  # One lock for all builds of torch: the build is chosen where it is installed.
  sed -i 's/+cpu$//' "requirements/$1.txt"
}

rest=(--extra train --extra serve --extra bench --extra dev)
resolve cpu --extra cpu "${rest[@]}"
# The other two take what the first one took.
shared=$(mktemp)
trap 'rm -f "$shared"' EXIT
grep -v '^onnxruntime' requirements/cpu.txt > "$shared"
resolve gpu --extra gpu "${rest[@]}" --constraints "$shared"
resolve serve --extra cpu --extra serve --constraints "$shared"
