"""Arrays and tables in, files out."""

from kseg.report.figures import plot_balance, plot_examples, plot_history, save_figure
from kseg.report.tables import fields_table, score_table

__all__ = ["fields_table", "plot_balance", "plot_examples", "plot_history", "save_figure", "score_table"]
