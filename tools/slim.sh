#!/bin/sh
# Takes out of a site-packages folder what a served image never reads: tools/slim.sh FOLDER. Run by the Dockerfile.
set -eu
cd "$1"
# Tests and sources of compiled code.
find . -type d \( -name tests -o -path ./tornado/test \) -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.h' -o -name '*.a' -o -name '*.map' \) -delete
# ONNX Runtime's C library, which its Python module holds once more, and its tools for making models.
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets
# Gradio's server for Node.js, its examples, and the browser's parts of video, plots and maps.
rm -rf gradio/templates/node gradio/media_assets gradio/CHANGELOG.md gradio/_frontend_code \
  gradio/templates/frontend/static/ffmpeg gradio/templates/frontend/static/bokeh gradio/templates/frontend/assets/Plotly*
# An accelerator of downloads; nothing is downloaded.
rm -rf hf_xet hf_xet-*.dist-info
# CUDA's parts that only profilers, random numbers in other programs and several GPUs ask for.
rm -rf nvidia/*/include nvidia/cu13/lib/libnv*alt* nvidia/cu13/lib/libnvblas* nvidia/cu13/lib/libcufftw*
