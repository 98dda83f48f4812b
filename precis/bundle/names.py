"""The names of a bundle's files, and of outputs of its graphs."""

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
ENCODER = "encoder_model.onnx"
DECODER = "decoder_model_merged.onnx"
CACHE = "cache.onnx"  # with static graphs only: moves entries of their caches
WEIGHTS = "shared.onnx_data"  # external data of both graphs
TOKEN_SCORES = "token_scores"  # output of an encoder with a sentence ranker
LOGITS = "logits"  # output of a decoder
BLOCK_MAXIMA, LOG_SUMS = "block_maxima", "log_sums"  # outputs of a decoder with dynamic shapes
REQUIRED_FILES = (ENCODER, DECODER, "tokenizer.json", "config.json", "generation_config.json")
UNLISTED_FILES = (MANIFEST, SIGNATURE, "model.yaml")  # BentoML's model store adds the last
