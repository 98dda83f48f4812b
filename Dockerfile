# `make image` stages the bundle in artifacts/image and labels the image with the origin of the model.
# The base image has its only name here. Its digest may follow the tag (docs/choices.md); Dependabot keeps both up to date.
FROM python:3.11-slim-bookworm AS base

FROM base AS packages
# cpu, or cuda: ONNX Runtime for an NVIDIA GPU with the CUDA libraries that it needs.
ARG DEVICE=cpu
COPY requirements/serve-${DEVICE}.txt /lock.txt
RUN python -m venv --without-pip /venv \
 && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
      --no-compile --require-hashes --only-binary :all: --requirement /lock.txt
COPY tools/slim.sh /
RUN sh /slim.sh /venv/lib/python3.11/site-packages && python -m compileall -q -j 0 /venv

FROM base
ARG DEVICE=cpu
# The service needs no installer.
RUN PYTHONDONTWRITEBYTECODE=1 pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
 && useradd --no-create-home --home-dir /tmp --uid 1000 precis
COPY --from=packages /venv /venv
WORKDIR /app
COPY artifacts/image ./
COPY precis precis
COPY bento bento
RUN python -m compileall -q precis bento
ENV PATH=/venv/bin:$PATH \
    LD_LIBRARY_PATH=/venv/lib/python3.11/site-packages/nvidia/cu13/lib:/venv/lib/python3.11/site-packages/nvidia/cudnn/lib \
    PRECIS_BUNDLE=/app/bundle \
    PRECIS_DEVICE=${DEVICE} \
    HOME=/tmp \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Numeric, so that an orchestrator can check that it is not root.
USER 1000
EXPOSE 3000
HEALTHCHECK --start-period=30s --start-interval=1s --interval=10s --timeout=3s \
  CMD ["python", "-IS", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "bento"]
CMD ["--host", "0.0.0.0", "--port", "3000"]
