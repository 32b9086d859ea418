"""Sphinx build of these pages: ``python -m sphinx -W -b html docs OUT``."""

project = 'mnv2_mm'
extensions = ['myst_parser']
myst_heading_anchors = 3  # anchors as on a repository page
html_theme = 'alabaster'
html_theme_options = {'page_width': '1200px'}
