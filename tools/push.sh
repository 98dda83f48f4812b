#!/usr/bin/env bash
# Pushes precis:latest under another name and prints its digest: tools/push.sh NAME. Run by make push.
set -euo pipefail
image=$(tr '[:upper:]' '[:lower:]' <<< "$1") # registries allow lower-case names only
if [ -n "${REGISTRY_TOKEN:-}" ]; then
  docker login --username "$REGISTRY_USER" --password-stdin "${image%%/*}" <<< "$REGISTRY_TOKEN"
fi
docker tag precis:latest "$image"
docker push "$image"
digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$image")
echo "digest=${digest##*@}" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
