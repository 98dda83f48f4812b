"""The largest scores: among all tokens of all beams quickly, and among few as `torch.topk` chooses them."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

COLUMN_SIZE = 128  # scores of which `best_candidates` computes the largest one first

Scores = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def best_candidates(scores: Scores, offsets: Scores, count: int) -> tuple[Indices, Scores]:
    """The `count` largest of `scores` (beams, vocabulary) + `offsets` (beams,), largest first.

    Returns their indices in the flattened `scores` (count,), the lower one first among equals, and the sums (count,).
    """
    beams, vocabulary = scores.shape
    columns = vocabulary // COLUMN_SIZE
    if beams * columns > 2 * count:
        # The largest sums stand in the columns with the largest maxima, which are quickly computed; there may be ties.
        size = columns * COLUMN_SIZE
        maxima = scores[:, :size].reshape(beams, COLUMN_SIZE, columns).max(axis=1) + offsets[:, None]
        beam, column = np.nonzero(maxima >= np.partition(maxima, -count, axis=None)[-count])
        within = (beam * vocabulary + column)[:, None] + np.arange(0, size, columns)
        rest = (np.arange(beams) * vocabulary)[:, None] + np.arange(size, vocabulary)
        indices = np.concatenate([within.reshape(-1), rest.reshape(-1)])
    else:
        indices = np.arange(scores.size)
    sums = scores.reshape(-1)[indices] + offsets[indices // vocabulary]
    largest = np.flatnonzero(sums >= np.partition(sums, -count)[-count])
    best = largest[np.lexsort((indices[largest], -sums[largest]))[:count]]
    return indices[best], sums[best]


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
