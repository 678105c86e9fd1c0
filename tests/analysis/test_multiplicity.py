"""Adjusted p-values against statsmodels."""

from __future__ import annotations

import pytest
from statsmodels.stats.multitest import multipletests

from analysis.multiplicity import benjamini_hochberg, holm


def test_adjusted_p_values_are_statsmodels():
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-15)
    assert benjamini_hochberg(p_values) == pytest.approx(list(multipletests(p_values, method="fdr_bh")[1]), abs=1e-15)
    assert holm([]) == []
    assert benjamini_hochberg([]) == []
