"""Summaries and tables: what they say, and how their cells become text, HTML, LaTeX and documents."""
