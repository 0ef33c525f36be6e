"""The paper's design choices as axes that anyone can run again: axes, rows, verdicts, a page."""
