"""What a summary or a table says, and how its cells become text, HTML and LaTeX."""
