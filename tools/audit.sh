#!/usr/bin/env bash
# Looks up known vulnerabilities of the packages in every lock; those that requirements/vex.json judges are left out.
# Fails, too, where a package cannot be looked up, as with a mirror that knows no vulnerabilities. Run by make audit.
set -euo pipefail
cd "$(dirname "$0")/.."
# One word each, which the shell splits below.
judged=$(.venv/bin/python -c '
import json
for statement in json.load(open("requirements/vex.json"))["statements"]:
    if statement["status"] in ("not_affected", "fixed"):
        vulnerability = statement["vulnerability"]
        for name in (vulnerability["name"], *vulnerability.get("aliases", [])):
            print("--ignore-vuln", name)
')
failed=0
for lock in train-cpu train-cuda serve-cpu serve-cuda test next; do
  echo "requirements/$lock.txt"
  .venv/bin/uv tool run --quiet pip-audit==2.10.1 --strict --disable-pip --require-hashes $judged --requirement "requirements/$lock.txt" || failed=1
done
exit $failed
