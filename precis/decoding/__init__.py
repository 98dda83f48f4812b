"""Search algorithms: which tokens follow from the logits, token for token as transformers 4.57 `generate` has them."""

from precis.decoding.beam import BeamSearch
from precis.decoding.greedy import GreedySearch
from precis.params import ResolvedParams

Search = GreedySearch | BeamSearch


def new_search(params: ResolvedParams) -> Search:
    """The search that `params` ask for: greedy with one beam, beam search with more."""
    return GreedySearch(params) if params.num_beams == 1 else BeamSearch(params)
