#!/usr/bin/env bash
# Runs the API's tests over HTTP against a container, and the container's own: tools/image_test.sh IMAGE PORT. Run by make image-test.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1 port=$2
log=$(mktemp)
gpus=()
[ "$(docker inspect --format '{{index .Config.Labels "precis.device"}}' "$image")" = cpu ] || gpus=(--gpus all)
name=$(docker run --detach --publish "127.0.0.1:$port:3000" --read-only --tmpfs /tmp --user 1000 --cap-drop ALL \
  --security-opt no-new-privileges --memory 1g --pids-limit 256 ${gpus[@]+"${gpus[@]}"} "$image")
trap 'docker rm --force "$name" >/dev/null; rm -f "$log"' EXIT
docker logs --follow "$name" > "$log" 2>&1 &
for _ in $(seq 300); do
  curl --silent --fail --output /dev/null "localhost:$port/readyz" && break
  [ "$(docker inspect --format '{{.State.Running}}' "$name")" = true ] || { cat "$log" >&2; exit 1; }
  sleep 0.2
done
PRECIS_URL="http://127.0.0.1:$port" PRECIS_LOG=$log PRECIS_BUNDLE=$PWD/artifacts/image/bundle \
  .venv-serve/bin/python -m pytest -m api --durations 5
PRECIS_IMAGE=$image .venv-serve/bin/python -m pytest tests/system/test_container.py --durations 5 -rP
