#!/usr/bin/env bash
# Builds .venv from one lock and installs the precis library in it, editable: tools/env.sh cpu|gpu. Run by make env.
set -euo pipefail
cd "$(dirname "$0")/.."
flavour=$1

python=$(command -v python3.11 || command -v python3 || true)
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed." >&2
  exit 1
fi
rm -rf .venv
"$python" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

# uv does not read pip's configuration, which may name a folder with a CPU build of torch.
links=${PIP_FIND_LINKS:-$(.venv/bin/pip config get global.find-links 2>/dev/null || true)}
[ -z "$links" ] || export UV_FIND_LINKS="$links"
install() {
  .venv/bin/uv pip install --system-certs --python .venv/bin/python --requirements "requirements/$flavour.txt" "$@"
}

if [ "$flavour" = cpu ] && ! compgen -G "${links:-/nowhere}/torch-*+cpu*" >/dev/null; then
  # Where PyTorch's own index can be reached: its CPU build is a tenth of the size.
  install --torch-backend cpu || install
else
  install
fi || {
  echo "uv could not install; trying pip, which may be configured for a package index of this machine." >&2
  .venv/bin/pip install --disable-pip-version-check --requirement "requirements/$flavour.txt"
}
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch ".venv/installed-$flavour"
