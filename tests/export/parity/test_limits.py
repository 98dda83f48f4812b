"""When two systems count as equal: rounding, next tokens and their distributions, and ROUGE."""

import numpy as np
import pytest

from export.parity.limits import has_rouge, list_documents
from export.parity.report import summarize
from tests.export.parity.test_comparison import SUMMARIES, StubSystem, compare


def test_limit_of_logits_grows_with_them():
    for size, passed in ((1, False), (100, True)):
        first, second = ([[size, -size + change]] for change in (0, 0.005))
        link = compare(StubSystem("a", SUMMARIES, first), StubSystem("b", SUMMARIES, second), exact=True)
        assert (link.report.passed, link.report.max_logit) == (passed, size)
        assert link.report.max_abs_logit_difference == pytest.approx(0.005, rel=1e-3)


def test_lossy_comparison_sees_other_tokens_and_distributions_behind_equal_rouge():
    first = StubSystem("a", SUMMARIES, [[0, 2]])
    preferred = compare(first, StubSystem("b", SUMMARIES, [[2.01, 2]]), False).report
    # Sum of p log(p / q) over both tokens.
    p = 1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))
    q = 1 / (1 + np.exp(-0.01)), 1 / (1 + np.exp(0.01))
    assert preferred.divergence == pytest.approx(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)), rel=1e-5)
    assert preferred.reasons == [
        "the next tokens' distributions diverge by 0.332 nats, allowed 0.02",
        "0.0% of next tokens are equal, at least 85% have to be",
    ]
    assert compare(first, StubSystem("b", SUMMARIES, [[0.1, 2]]), False).report.passed


def test_lossy_comparison_allows_rouge_differences_within_its_limits():
    other = [SUMMARIES[0], "A storm closed the harbour.", SUMMARIES[2]]
    one, two = StubSystem("a", SUMMARIES, [[1, 2]]), StubSystem("b", other, [[1, 2.1]])
    assert compare(one, two, False, rouge_tolerance=20.0, rouge_interval=40.0).report.passed
    link = compare(one, two, False, rouge_tolerance=20.0, rouge_interval=1.0)
    assert not link.report.passed
    assert "the 95% interval of rouge1's difference" in link.report.reasons[0]
    assert (link.report.rouge_tolerance, link.report.rouge_interval, link.report.tolerance) == (20.0, 1.0, None)


def test_rouge_that_is_0_everywhere_is_no_verdict():
    first, second = (StubSystem(name, ["Nothing."] * 3, [[1, 2]]) for name in "ab")
    link = compare(first, second, False)
    assert (link.report.passed, has_rouge(link.report)) == (True, False)
    assert "ROUGE is 0 for both on every document and compares nothing" in summarize([link])
    assert not compare(first, StubSystem("c", ["Nothing."] * 3, [[2, 1]]), False).report.passed
    assert has_rouge(compare(first, StubSystem("d", SUMMARIES, [[1, 2]]), False).report)


def test_infinite_logits_fail():
    first, second = StubSystem("a", SUMMARIES, [[1, np.inf]]), StubSystem("b", SUMMARIES, [[1, 2]])
    for exact in (True, False):
        assert compare(first, second, exact).report.reasons == ["some logits are NaN or infinite"]


def test_only_the_first_documents_are_listed():
    assert list_documents([3, 1]) == "documents 3, 1"
    assert list_documents(list(range(12))) == "documents 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
