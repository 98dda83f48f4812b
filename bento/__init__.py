"""The service: a verified bundle behind an HTTP API and a web page, without torch, transformers or optimum."""

from pathlib import Path

EMBEDDED_RUN = Path(__file__).parent.parent / "artifacts/embedded"  # what `make model` builds and `bentoml build` packs
