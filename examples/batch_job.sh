#!/usr/bin/env bash
# Summarizes the "document" field of every line of a JSONL file, and writes the lines with a "summary" field added.
#
#     examples/batch_job.sh [BUNDLE] [IN] [OUT]
#
# Started again after a crash or a kill, it continues after the last finished row. A finished OUT is never overwritten.
# Rows without a usable document go to OUT.rejects.jsonl with the reason. It needs a bundle (`make model`).
# The paths are relative to the root of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=${1:-artifacts/embedded/bundle}
input=${2:-examples/documents.jsonl}
output=${3:-artifacts/summaries.jsonl}
export PATH="$PWD/.venv/bin:$PATH"

precis bulk "$input" "$output" --bundle "$bundle" --column document
if [ -s "$output.rejects.jsonl" ]; then
  echo "Some rows were rejected; see $output.rejects.jsonl." >&2
fi
