#!/usr/bin/env bash
# Lists what an image contains, as CycloneDX and as a table of licences in artifacts/: tools/sbom.sh cpu|cuda. Run by make sbom.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/uv venv --quiet --python .venv/bin/python "$folder/venv"
.venv/bin/uv pip install --quiet --system-certs --python "$folder/venv/bin/python" --require-hashes --requirement "requirements/serve-$1.txt"
sh tools/slim.sh "$folder"/venv/lib/python*/site-packages
mkdir -p artifacts
.venv/bin/cyclonedx-py environment "$folder/venv/bin/python" --pyproject pyproject.toml --output-reproducible --output-file artifacts/sbom.json
.venv/bin/pip-licenses --python "$folder/venv/bin/python" --from mixed --with-urls --format markdown --output-file artifacts/licences.md
echo "artifacts/sbom.json: $(grep -c '"purl"' artifacts/sbom.json) packages; artifacts/licences.md"
