"""Turns a SentencePiece unigram model with byte fallback into a fast T5 tokenizer.

transformers' own converter drops byte fallback, so that emoji and rare letters become the unknown token. This module
builds the tokenizers library's Unigram model directly; tests compare it with SentencePiece.

    python -m research.pretrain.fast_tokenizer SPIECE_MODEL FOLDER
"""

import argparse
import sys
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import T5TokenizerFast

from research.pretrain.initialisation import SENTINELS


def fast_tokenizer(spiece: str | Path, extra_ids: int, max_length: int = 512) -> T5TokenizerFast:
    """The fast tokenizer of the SentencePiece model file `spiece`.

    `extra_ids` sentinels (`<extra_id_0>` last, as in T5) fill the vocabulary up to the model's embedding rows. The end
    token is appended to every encoded text, as T5 expects. Raises ValueError for another kind of model.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(Path(spiece).read_bytes())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    trainer = proto.trainer_spec
    if not trainer.byte_fallback or trainer.model_type != trainer.UNIGRAM:
        raise ValueError(f"{spiece} is not a unigram model with byte fallback.")
    pieces += [(f"<extra_id_{i}>", 0.0) for i in range(extra_ids - 1, -1, -1)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=trainer.unk_id, byte_fallback=True))
    # SentencePiece folds runs of spaces and trims the ends before it cuts.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(left=True, right=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    # Bytes first: the Metaspace decoder would otherwise see "<0xF0>" as text.
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    end = pieces[1][0]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, 1)])
    special = [AddedToken(pieces[i][0], special=True, normalized=False) for i in (0, 1, 2)]
    tokenizer.add_special_tokens(special)
    return T5TokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pieces[0][0],
        eos_token=end,
        unk_token=pieces[trainer.unk_id][0],
        extra_ids=extra_ids,
        model_max_length=max_length,
    )


def main(argv: list[str]) -> int:
    description = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m research.pretrain.fast_tokenizer", description=description)
    parser.add_argument("spiece", metavar="SPIECE_MODEL", help="SentencePiece model file")
    parser.add_argument("folder", metavar="FOLDER", help="where the tokenizer is written")
    options = parser.parse_args(argv)
    fast_tokenizer(options.spiece, extra_ids=SENTINELS).save_pretrained(options.folder)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
