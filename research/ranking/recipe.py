"""The recipe of the pairs, which is checked as strictly as a fine-tuning recipe."""

from typing import Literal

from pydantic import Field

from finetune.recipe import Section


class PairSet(Section):
    """One file of documents, and what stands for a summary in it."""

    file: str = Field(description="JSONL, may be .xz, with `document` and the column that `reference` names.")
    reference: Literal["summary", "title", "lead"] = Field(
        "summary", description="`lead` is the first sentence, which the document then lacks, as XSum was made."
    )
    rows: int = Field(ge=1, description="At most this many pairs, drawn with the seed.")


class PairsRecipe(Section):
    """Where the pairs come from and go to."""

    output: str = Field(description="Folder for train.jsonl and validation.jsonl.")
    folder: str = Field(description="Folder of the sets, which are not in the repository.")
    decontaminate_against: list[str] = Field(
        [], description="Evaluation files: documents that share 13 words in a row with them are left out."
    )
    held_out: int = Field(50, ge=2, description="One pair in this many is for validation.")
    seed: int = Field(0, ge=0)
    sets: dict[str, PairSet]
