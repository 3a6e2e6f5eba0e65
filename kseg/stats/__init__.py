"""Statistics over cases, over seeds, and over models."""

from kseg.stats.cases import Paired, area_under, bootstrap_interval, crossed_interval, crossed_test, holm, paired_test
from kseg.stats.compared import ENOUGH, SEEDS, Comparison, Spread, compare, usual_spread
from kseg.stats.ranking import Ranking, ranking
from kseg.stats.ranks import Correlation, rank_correlation

__all__ = [
    "ENOUGH", "SEEDS", "Comparison", "Correlation", "Paired", "Ranking", "Spread", "area_under", "bootstrap_interval",
    "compare", "crossed_interval", "crossed_test", "holm", "paired_test", "rank_correlation", "ranking", "usual_spread",
]  # fmt: skip
