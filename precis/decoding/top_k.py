"""The largest scores: among all tokens of all beams, by the maxima of blocks, and among few as `torch.topk` does it."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from precis.decoding.step_logits import StepLogits

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def best_candidates(step: StepLogits, offsets: Scores, count: int) -> tuple[Indices, Indices, Scores]:
    """The `count` largest of the logits of `step` + `offsets` (rows,), largest first.

    Returns the row, the token and the sum of each (count,). Among equals the lower row, then the lower token is first.
    """
    maxima = step.maxima + offsets[:, None]
    least = np.partition(maxima, -count, axis=None)[-count] if maxima.size > count else -np.inf
    row, block = np.nonzero(maxima >= least)  # the largest sums stand in these blocks; there may be ties
    size = step.all_logits.shape[1] // maxima.shape[1]
    blocks = step.all_logits.reshape(-1, maxima.shape[1], size)[step.rows[row], block]
    sums = blocks + offsets[row][:, None]
    candidate, token = np.nonzero(sums >= np.partition(sums, -count, axis=None)[-count])
    values = sums[candidate, token]
    best = np.argsort(-values, kind="stable")[:count]
    candidate = candidate[best]
    return row[candidate], block[candidate] * size + token[best], values[best]


def top_k(values: Scores, count: int) -> Indices:
    """Indices of the `count` largest of a few `values` (n,), largest first, equal ones in the order of `torch.topk`.

    Beam search often has equal scores: a sequence that may not be chosen has about -1e9, where neighbouring numbers of
    float32 are 64 apart. If no finished sequence scores above that, because of a very negative length penalty, the
    order among equals decides the result. torch's order on CPUs is that of libstdc++'s std::nth_element, which is
    followed here step by step, and of an insertion sort.
    """
    keys = values.tolist()
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
    if all(keys[better] > keys[worse] for better, worse in pairwise(order[: count + 1])):
        return np.array(order[:count])
    order = [*range(len(keys))]

    def swap(i: int, j: int) -> None:
        order[i], order[j] = order[j], order[i]

    def before(i: int, j: int) -> bool:
        return keys[order[i]] > keys[order[j]]

    first, last = 0, len(order)
    while last - first > 3:
        a, b, c = first + 1, first + (last - first) // 2, last - 1
        if before(a, b):
            swap(first, b if before(b, c) else c if before(a, c) else a)
        else:
            swap(first, a if before(a, c) else c if before(b, c) else b)
        low, high = first + 1, last
        while True:
            while before(low, first):
                low += 1
            high -= 1
            while before(first, high):
                high -= 1
            if low >= high:
                break
            swap(low, high)
            low += 1
        first, last = (low, last) if low < count else (first, low)
    order[first:last] = sorted(order[first:last], key=lambda index: -keys[index])
    return np.array(sorted(order[: count - 1], key=lambda index: -keys[index]) + order[count - 1 : count])
