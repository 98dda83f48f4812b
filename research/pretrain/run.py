"""One pre-training run from recipe to model folder: corpus, tokenizer, training, held-out losses, files."""

import random
import shutil
import tempfile
from pathlib import Path

import sentencepiece
import torch
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

from finetune.files import replaced_folder, write_json
from finetune.provenance import versions
from finetune.reports.progress import console
from research.pretrain import corpus
from research.pretrain.batches import Steps, collate, group_by_length
from research.pretrain.fast_tokenizer import fast_tokenizer
from research.pretrain.initialisation import SENTINELS, fresh_model
from research.pretrain.plots import pretraining_curves
from research.pretrain.recipe import PretrainRecipe
from research.pretrain.tasks import Tasks
from research.pretrain.training import losses, train

HELD_OUT_EXAMPLES = 48  # of each task
TOKENIZER_SENTENCES = 400_000


def pretrain(recipe: PretrainRecipe) -> Path:
    """Runs the recipe and returns the model's folder, `output`/model."""
    output = Path(recipe.output)
    output.mkdir(parents=True, exist_ok=True)
    documents, held_out, counts = corpus.load_cached(recipe.corpus, recipe.training.seed, output / "documents.jsonl.xz")
    for name, outcomes in counts.items():
        console.print(f"  {name}: {dict(outcomes)}")
    spiece = output / "spiece.model"
    if recipe.start:
        shutil.copy(Path(recipe.start) / "spiece.model", spiece)
    elif not spiece.exists():
        train_tokenizer(documents, recipe.network.vocabulary, spiece, recipe.training.seed)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(spiece))
    if recipe.start:
        model = AutoModelForSeq2SeqLM.from_pretrained(recipe.start, dtype=torch.float32, use_safetensors=True)
    else:
        model = fresh_model(recipe.network, recipe.training.seed)
    steps = Steps(recipe, Tasks(documents, recipe.corpus, tokenizer))
    unseen = Tasks(held_out, recipe.corpus, tokenizer)
    names = sorted({task for stage in recipe.stages for task in stage.mixture})
    history = train(model, steps, recipe, output, lambda: held_out_losses(model, unseen, names))
    save(model, spiece, output / "model")
    write_json(
        output / "pretraining.json",
        {"recipe": recipe.model_dump(), "corpus": counts, "history": history, "versions": versions()},
    )
    pretraining_curves(history, names, output / "losses.png")
    return output / "model"


def train_tokenizer(documents: list[corpus.Document], vocabulary: int, path: Path, seed: int) -> None:
    """Trains a SentencePiece unigram model with byte fallback and T5's special tokens, and writes it to `path`."""
    draw = random.Random(seed)
    sample = draw.sample(documents, min(len(documents), 40_000))
    lines = [line for document in sample for line in document.sentences][:TOKENIZER_SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=f"{folder}/spiece",
            vocab_size=vocabulary,
            model_type="unigram",
            byte_fallback=True,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=2,
            minloglevel=2,
        )
        shutil.move(f"{folder}/spiece.model", path)


@torch.inference_mode()
def held_out_losses(model: T5ForConditionalGeneration, tasks: Tasks, names: list[str]) -> dict[str, float]:
    """Mean loss of each task in nats per token on held-out documents, with the same examples each time."""
    means = {}
    for name in names:
        draw = random.Random(name)
        examples = [tasks.example(name, 256, draw) for _ in range(HELD_OUT_EXAMPLES)]
        batches = map(collate, group_by_length(examples, 4096))
        values = [losses(model, [part.to(model.device) for part in batch]) for batch in batches]
        means[name] = round(torch.cat(values).mean().item(), 3)
    return means


def save(model: T5ForConditionalGeneration, spiece: Path, folder: Path) -> None:
    """Writes a Hugging Face folder with fp16 weights (half the size; they are far from fp16's limits)."""
    with replaced_folder(folder) as partial:
        model.half().save_pretrained(partial)
        model.float()
        fast_tokenizer(spiece, extra_ids=SENTINELS).save_pretrained(partial)
        shutil.copy(spiece, partial / "spiece.model")
