"""The peer of benchmarks.service: the usual BentoML way, adaptive batching over Optimum's ORTModelForSeq2SeqLM.

It follows BentoML's documentation: one batchable method, padded batches, `generate`.
"""

import os
from pathlib import Path

import bentoml

MODEL = os.environ.get("PLAIN_MODEL", "")
TIMEOUT = 120  # seconds


@bentoml.service(name="plain", traffic={"timeout": TIMEOUT}, tracing={"excluded_urls": ".*"})
class Plain:
    """The environment variable PLAIN_MODEL names the folder that `export` wrote."""

    def __init__(self) -> None:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSeq2SeqLM
        from transformers import AutoTokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PLAIN_THREADS"])
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = ORTModelForSeq2SeqLM.from_pretrained(MODEL, session_options=options)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=TIMEOUT * 1000)
    def summarize(self, texts: list[str]) -> list[str]:
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=512)
        length = int(os.environ["PLAIN_NEW_TOKENS"])
        tokens = self.model.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            max_new_tokens=length,
            min_new_tokens=length,
        )
        return self.tokenizer.batch_decode(tokens, skip_special_tokens=True)


def export(model: Path, folder: Path) -> None:
    """Writes the ONNX files that the service loads."""
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer

    ORTModelForSeq2SeqLM.from_pretrained(model, export=True).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
