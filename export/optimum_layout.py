"""The layout of Optimum, for tools that load it with ORTModelForSeq2SeqLM.from_pretrained."""

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from transformers import PreTrainedTokenizerFast

from export.parity.systems import PyTorchSystem, right_padded
from finetune.errors import UserError
from finetune.recipe import Recipe


def write_optimum(model_folder: Path, folder: Path) -> None:
    """Writes Optimum's own fp32 export of the transformers model: encoder, decoder and decoder with past."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main_export(str(model_folder), folder, task="text2text-generation-with-past", do_validation=False)


def load_optimum(folder: Path) -> ORTModelForSeq2SeqLM:
    """The folder in Optimum's runtime. Raises UserError if it cannot be loaded."""
    try:
        model = ORTModelForSeq2SeqLM.from_pretrained(folder)
    except Exception as error:  # ONNX Runtime's exceptions have no base class of their own
        raise UserError(f"{folder} cannot be loaded by Optimum: {str(error).splitlines()[0]}") from error
    # optimum-onnx 0.1.0 takes d_model / heads for the width of a head, which is wrong for T5 v1.1.
    for part in (model.decoder, model.decoder_with_past):
        if part is not None:
            part.embed_size_per_head = model.config.d_kv
    return model


class OptimumSystem(PyTorchSystem):
    """Optimum's runtime, with transformers' own `generate`."""

    def __init__(self, name: str, folder: Path, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self.name, self.tokenizer, self.recipe = name, tokenizer, recipe
        self.model = load_optimum(folder)

    @torch.inference_mode()
    def logits(self, inputs: list[list[int]], tokens: list[list[int]]) -> list[np.ndarray]:
        source = self.tokenizer.pad({"input_ids": inputs}, return_tensors="pt")
        start = self.model.generation_config.decoder_start_token_id
        decoder_inputs = torch.tensor([[start, *row[:-1]] for row in right_padded(tokens)])
        logits = self.model(**source, decoder_input_ids=decoder_inputs).logits.numpy()
        return [logits[row, : len(own)] for row, own in enumerate(tokens)]
