"""Arrays and tables in, files out."""

from kseg.report.balance import LOSS_COLOURS, plot_balance, plot_overview, save_small, smooth_curve
from kseg.report.figures import plot_examples, plot_history, save_figure
from kseg.report.loss_card import card_text, loss_table, plot_loss, taxonomy_table
from kseg.report.tables import SURFACE, fields_table, score_table

__all__ = [
    "LOSS_COLOURS", "SURFACE", "card_text", "fields_table", "loss_table", "plot_balance", "plot_examples",
    "plot_history", "plot_loss", "plot_overview", "save_figure", "save_small", "score_table", "smooth_curve",
    "taxonomy_table",
]  # fmt: skip
