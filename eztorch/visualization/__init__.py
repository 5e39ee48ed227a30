"""Pictures of a run: what the model saw, the curves of its metrics, and the report. matplotlib is imported to draw."""

from eztorch.visualization.curves import Chart, draw_chart, read_metrics
from eztorch.visualization.report import write_report
from eztorch.visualization.views import contact_sheet, save_contact_sheet

__all__ = ["Chart", "contact_sheet", "draw_chart", "read_metrics", "save_contact_sheet", "write_report"]
