"""The run report: one HTML file that opens offline."""

from jepawm.report.page import write_report

__all__ = ["write_report"]
