"""Arrays and tables in, files out."""

from kseg.report.figures import plot_balance, plot_examples, plot_history, save_figure
from kseg.report.loss_card import card_text, loss_table, plot_loss, taxonomy_table
from kseg.report.tables import SURFACE, fields_table, score_table

__all__ = [
    "SURFACE", "card_text", "fields_table", "loss_table", "plot_balance", "plot_examples", "plot_history", "plot_loss",
    "save_figure", "score_table", "taxonomy_table",
]  # fmt: skip
