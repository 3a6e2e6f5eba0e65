"""Arrays and tables in, files out."""

from kseg.report.attacks import ATTACK_STYLE, attack_styles, plot_attacked, plot_attacks, plot_choices
from kseg.report.balance import LOSS_COLOURS, plot_balance, plot_overview, save_small, smooth_curve
from kseg.report.cases import plot_calibration, plot_case_scores, plot_confusion, plot_sizes
from kseg.report.comparison import comparison_styles, plot_cost, plot_learning, plot_scores
from kseg.report.comparison_panels import plot_compared, plot_halving, plot_ranking
from kseg.report.examples import plot_examples
from kseg.report.figures import plot_history, save_figure
from kseg.report.loss_card import card_text, loss_table, plot_loss, taxonomy_table
from kseg.report.pixel_curves import LOSS_STYLE, loss_styles, plot_robustness, plot_spread, plot_statistics
from kseg.report.pixels import animate_shrinking, plot_gradients, plot_predictions, plot_shrinking
from kseg.report.robust import model_styles, plot_losses, plot_model_scores, plot_models_attacked, plot_reliability
from kseg.report.tables import SURFACE, fields_table, score_table

__all__ = [
    "ATTACK_STYLE", "LOSS_COLOURS", "LOSS_STYLE", "SURFACE", "animate_shrinking", "attack_styles", "card_text",
    "comparison_styles", "fields_table", "loss_styles", "loss_table", "model_styles", "plot_attacked", "plot_attacks",
    "plot_balance", "plot_calibration", "plot_case_scores", "plot_choices", "plot_compared", "plot_confusion",
    "plot_cost", "plot_examples", "plot_gradients", "plot_halving", "plot_history", "plot_learning", "plot_loss",
    "plot_losses", "plot_model_scores", "plot_models_attacked", "plot_overview", "plot_predictions", "plot_ranking",
    "plot_reliability", "plot_robustness", "plot_scores", "plot_shrinking", "plot_sizes", "plot_spread",
    "plot_statistics", "save_figure", "save_small", "score_table", "smooth_curve", "taxonomy_table",
]  # fmt: skip
