#!/usr/bin/env bash
# From a CSV file of (article, summary) pairs to a summary, end to end.
#
#     examples/own_data/run.sh [PAIRS] [RUN] [section.key=value ...]
#
# It needs the environment (`make env`). PAIRS and RUN are relative to the root of the repository.
set -euo pipefail
cd "$(dirname "$0")/../.."
pairs=${1:-examples/pairs.csv}
run=${2:-artifacts/own}
shift $(($# < 2 ? $# : 2))
export PATH="$PWD/.venv/bin:$PATH"

recipe=(recipes/embedded.yaml "output=$run" "data.train=$pairs" data.document_column=article data.validation=null "$@")

echo "== 1. Check names, lengths and memory without training"
python -m finetune --check "${recipe[@]}"
echo "== 2. Fine-tune, merge and score"
python -m finetune "${recipe[@]}"
echo "== 3. Export to ONNX and prove it equal to PyTorch"
python -m export "$run"
echo "== 4. Summarize"
precis summarize "$run/bundle" examples/article.txt
echo "Serve it with: make serve BUNDLE=$run/bundle"
