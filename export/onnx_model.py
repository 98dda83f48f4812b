"""Writes a merged T5 as ONNX with Optimum, with an attention mask on the decoder's own past."""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx
from optimum.exporters.onnx import main_export
from optimum.exporters.onnx.model_configs import T5OnnxConfig
from transformers import AutoConfig

FILES = ("encoder_model.onnx", "decoder_model_merged.onnx")
SETTINGS = ("tokenizer.json", "config.json", "generation_config.json")


class MaskedT5OnnxConfig(T5OnnxConfig):
    """T5 whose decoder takes a mask over its past.

    With it, rows of unlike age can share a batch: caches are right-aligned and what lies before a row's first token is
    masked. T5's positions are relative, so nothing else tells the rows apart. Optimum names it `attention_mask`.
    """

    PAD_ATTENTION_MASK_TO_PAST = True

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        inputs = super().inputs
        if "decoder_input_ids" in inputs:
            length = "decoder_sequence_length"
            if self.use_past_in_inputs:
                length = f"past_decoder_sequence_length + {length}"
            inputs["decoder_attention_mask"] = {0: "batch_size", 1: length}
        return inputs


def write_onnx(merged: Path, folder: Path) -> None:
    """Writes encoder, merged decoder, tokenizer and settings of the model folder `merged` to `folder`."""
    config = MaskedT5OnnxConfig(AutoConfig.from_pretrained(merged), task="text2text-generation", use_past=True)
    parts = {
        "encoder_model": config.with_behavior("encoder"),
        "decoder_model": config.with_behavior("decoder", use_past=True, use_past_in_inputs=False),
        "decoder_with_past_model": config.with_behavior("decoder", use_past=True, use_past_in_inputs=True),
    }
    # It warns of the tied embedding, which each graph has to hold once.
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, on branches that T5 never takes
        main_export(
            str(merged),
            scratch,
            task="text2text-generation-with-past",
            custom_onnx_configs=parts,
            # Optimum's check runs on dummy inputs; export.parity runs on real documents.
            do_validation=False,
        )
        _rename_mask_length(Path(scratch) / FILES[1])
        # Over 2 GB the weights lie beside their graph, in a file whose name begins with the graph's.
        graphs = [path for name in FILES for path in Path(scratch).glob(f"{name}*")]
        for path in (*graphs, *(Path(scratch) / name for name in SETTINGS)):
            shutil.move(path, folder / path.name)


def _rename_mask_length(path: Path) -> None:
    """The merged graph takes its inputs' names from the branch without past, where the mask is as long as the input."""
    model = onnx.load(path, load_external_data=False)
    mask = next(entry for entry in model.graph.input if entry.name == "attention_mask")
    mask.type.tensor_type.shape.dim[1].dim_param = "past_decoder_sequence_length + decoder_sequence_length"
    onnx.save(model, path)
