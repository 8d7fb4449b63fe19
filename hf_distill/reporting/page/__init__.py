"""A report as one page of HTML, and its plots."""
