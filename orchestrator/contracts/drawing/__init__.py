"""Definitions as diagrams: Mermaid and DOT as text, SVG laid out by ourselves. Pure."""
