#!/bin/sh
# Removes from a site-packages folder what the service never reads: tools/slim.sh FOLDER. Run by the Dockerfile.
set -eu
cd "$1"
# Tests and sources of compiled code.
find . -type d \( -name tests -o -path ./tornado/test \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.h' -o -name '*.a' -o -name '*.map' \) -delete
# ONNX Runtime's C library (its Python module contains it, too) and its tools for converting models.
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets
# Gradio's Node.js server, its examples, and the browser code for video, plots and maps.
rm -rf gradio/templates/node gradio/media_assets gradio/CHANGELOG.md gradio/_frontend_code \
  gradio/templates/frontend/static/ffmpeg gradio/templates/frontend/static/bokeh gradio/templates/frontend/assets/Plotly*
# Speeds up downloads from a model hub; the service downloads nothing.
rm -rf hf_xet hf_xet-*.dist-info
# CUDA libraries for profilers, random numbers and several GPUs, none of which ONNX Runtime loads here.
rm -rf nvidia/*/include nvidia/cu13/lib/libnv*alt* nvidia/cu13/lib/libnvblas* nvidia/cu13/lib/libcufftw*
