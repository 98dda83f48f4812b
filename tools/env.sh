#!/usr/bin/env bash
# Builds an environment from locks in requirements/ and installs the precis library in it, editable:
# tools/env.sh FOLDER LOCK.... Run by make env.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
shift
locks=("${@/#/requirements/}")

# The first with a version of the locks that runs and can make environments; Debian has ensurepip in a package apart.
for python in python3 python3.11 python3.12 python3.13 ""; do
  "${python:-true}" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && break
done
if [ -z "$python" ]; then
  echo "Python 3.11, 3.12 or 3.13 is needed, with its venv module." >&2
  exit 1
fi
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

# uv does not read pip's configuration, which may name a folder with a CPU build of torch.
links=${PIP_FIND_LINKS:-$("$folder/bin/pip" config get global.find-links 2>/dev/null || true)}
[ -z "$links" ] || export UV_FIND_LINKS="$links"
index=()
if [[ $* == *torch-cpu* && $(uname -s) == Linux ]] && ! compgen -G "${links:-/nowhere}/torch-*+cpu*" >/dev/null; then
  index=(--torch-backend cpu) # PyTorch's own
fi
install() { # LOCK...
  "$folder/bin/uv" pip install --system-certs --python "$folder/bin/python" --require-hashes --no-deps ${index[@]+"${index[@]}"} "${@/#/--requirements=}"
}
install_with_pip() { # LOCK...
  echo "uv could not install; trying pip, which may be configured for a package index of this machine." >&2
  "$folder/bin/pip" install --disable-pip-version-check --require-hashes --no-deps "${@/#/--requirement=}"
}
install_with_cuda() { # LOCK...
  echo "No CPU build of torch can be reached; its CUDA build works too, but takes three gigabytes." >&2
  index=()
  awk '/^[a-z]/ { cuda = /^(torch|nvidia|cuda|triton)/ && !/^nvidia-ml-py/ } cuda' requirements/train-cuda.txt > "$folder/torch-cuda.txt"
  install "${@/#*torch-cpu.txt/$folder/torch-cuda.txt}"
}
install "${locks[@]}" || install_with_pip "${locks[@]}" || { [[ $* == *torch-cpu* ]] && install_with_cuda "${locks[@]}"; }
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
