"""Figures, tables and what they say about their origin. Draws what it is handed."""
