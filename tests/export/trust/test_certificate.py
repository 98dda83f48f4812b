"""The certificate: its regression against a known answer, its levels on pairs whose risk is known, and a whole one."""

import numpy as np
import pytest

from export.trust.certificate import ALPHAS, CONFIDENCE, MIN_PAIRS, calibrate, certify, fit_logistic, measure
from precis import Engine, GenerationParams
from precis.grounding.evidence import find_evidence
from precis.grounding.risk import MAX_COUNT, features, risk, trust
from precis.request import Summary
from tests.conftest import gazette


def written(score: float = -0.5) -> Summary:
    return Summary("", [], 0, 0, 1, 0, "end", score=score, min_token_score=2 * score)


def test_logistic_regression_has_the_optimum_of_its_penalized_likelihood():
    """There the gradient, here from its formula, is zero, or holds a weight of zero from falling below."""
    random = np.random.default_rng(2)
    table = random.normal(size=(200, 3)) * [1, 10, 0.1] + [5, 0, 1]
    wrong = random.random(200) < 1 / (1 + np.exp(2 - table[:, 0] + 0.1 * table[:, 1]))
    weights, bias = fit_logistic(table, wrong)
    residuals = wrong - 1 / (1 + np.exp(-bias - table @ weights))
    deviation = table.std(axis=0)
    scaled = (table - table.mean(axis=0)) / deviation
    assert residuals.sum() == pytest.approx(0, abs=1e-3)
    gradient = scaled.T @ residuals - weights * deviation
    assert gradient[0] == pytest.approx(0, abs=1e-2)
    assert gradient[1] < -1
    assert weights[0] > 0.5
    assert weights[1] == pytest.approx(0, abs=1e-4)
    assert risk({"a": weights[0]}, bias, {"a": 1e6}) == 1.0
    assert risk({"a": weights[0]}, bias, {"a": -1e6}) == 0.0


def test_levels_release_what_is_clean_and_never_less_at_a_larger_share():
    random = np.random.default_rng(3)
    seams = random.integers(0, 2, size=600)
    values = [{"score": -1.0, "min_token_score": -2.0, "seams": int(n), "novel": 0, "unsupported": 0} for n in seams]
    wrong = random.random(600) < np.where(seams > 0, 0.6, 0.0)
    certificate = calibrate(values, wrong, "write")
    assert (certificate.fitted_pairs, certificate.calibration_pairs) == (200, 400)
    released = {level.alpha: level.released for level in certificate.levels}
    assert list(released) == list(ALPHAS)
    assert sorted(released.values()) == list(released.values())
    assert released[0.05] == pytest.approx(0.5, abs=0.06)
    assert released[0.5] == 1.0
    document = "The council met on Tuesday and mended the old bridge. The mayor was away in May and came back."
    clean = find_evidence(document, "The mayor was away in May and came back.")
    spliced = find_evidence(document, "The council met on Tuesday and came back.")
    assert trust(certificate, features(written(-1.0), clean)) >= 0.95
    assert 0.5 <= trust(certificate, features(written(-1.0), spliced)) < 0.95


def test_only_wrong_pairs_certify_nothing():
    values = [features(written(-0.1 * i), find_evidence("a b c", "a b c")) for i in range(90)]
    certificate = calibrate(values, np.ones(90, dtype=bool), "write")
    assert [level.max_risk for level in certificate.levels] == [None] * len(ALPHAS)
    assert trust(certificate, features(written(), find_evidence("a b c", "a b c"))) == 0.0


def test_counts_are_capped():
    evidence = find_evidence("The council met.", "Anna and Bob and Zoe and Max ran 17 miles to 18 towns quickly.")
    assert features(written(), evidence)["novel"] == MAX_COUNT


@pytest.mark.parametrize("mode", ["write", "extract"])
def test_a_certificate_covers_what_the_bundle_makes(engine, mode):
    rows = gazette("validation")[:MIN_PAIRS]
    documents, references = [row["document"][:250] for row in rows], [row["summary"] for row in rows]
    values, wrong = measure(engine, documents, references, mode)
    certificate = certify(engine, documents, references, mode)
    assert (certificate is None) == (len(values) < MIN_PAIRS)
    certificate = calibrate(values, wrong, mode)
    assert certificate.mode == mode
    assert certificate.fitted_pairs + certificate.calibration_pairs == len(values) == len(wrong)
    assert certificate.curve[-1] == (1.0, certificate.wrong)
    summaries = engine.generate(documents[:5], GenerationParams(mode=mode))
    evidence = [find_evidence(*pair) for pair in zip(documents, (each.text for each in summaries), strict=False)]
    alone = [value for value in map(features, summaries, evidence) if value]
    assert alone
    for value, expected in zip(alone, values, strict=False):
        assert value == pytest.approx(expected, abs=1e-3)
        assert 0 <= trust(certificate, value) <= 1
    assert certify(engine, documents[1:], references[1:], mode) is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["write", "extract"])
def test_certificates_of_random_splits_keep_their_promise_on_the_other_pairs(embedded, mode):
    """Two thirds of Gazette validation calibrate and one third tests; docs/trust.md has what this prints (-s)."""
    rows = gazette("validation")
    with Engine.load(embedded / "bundle-int8") as loaded:
        values, wrong = measure(loaded, *([row[key] for row in rows] for key in ("document", "summary")), mode)
    random, splits = np.random.default_rng(0), 1000
    shares = (0.05, 0.1, 0.15, 0.2, 0.3)
    released: dict[float, list[float]] = {alpha: [] for alpha in shares}
    fulfilled = dict.fromkeys(shares, 0)
    for _ in range(splits):
        order = random.permutation(len(values))
        own, tested = order[: len(order) * 2 // 3], order[len(order) * 2 // 3 :]
        certificate = calibrate([values[i] for i in own], wrong[own], mode)
        risks = np.array([risk(certificate.weights, certificate.bias, values[i]) for i in tested])
        for level in certificate.levels:
            if level.alpha in shares:
                passed = risks <= (-1 if level.max_risk is None else level.max_risk)
                released[level.alpha].append(float(passed.mean()))
                fulfilled[level.alpha] += not passed.any() or wrong[tested][passed].mean() <= level.alpha
    for alpha in shares:
        print(
            f"{alpha:.0%}: kept in {fulfilled[alpha] / splits:.1%} of splits, released {np.mean(released[alpha]):.1%}"
        )
        assert fulfilled[alpha] >= CONFIDENCE * splits
