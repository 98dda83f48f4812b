FROM python:3.11-slim-bookworm AS packages
COPY requirements/serve.txt /serve.txt
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r /serve.txt

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="precis" \
      org.opencontainers.image.description="Summaries by a fine-tuned T5 on ONNX Runtime, over HTTP and on a page"
RUN useradd --create-home --uid 1000 precis
COPY --from=packages /venv /venv
WORKDIR /app
COPY engine engine
COPY bento bento
COPY artifacts/embedded/bundle bundle
ENV PATH=/venv/bin:$PATH \
    PRECIS_BUNDLE=/app/bundle \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
# A number, so that an orchestrator can see that it is not root.
USER 1000
EXPOSE 3000
HEALTHCHECK --start-period=30s --interval=10s --timeout=3s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"]
CMD ["bentoml", "serve", "bento.service:Summarizer", "--host", "0.0.0.0", "--port", "3000"]
