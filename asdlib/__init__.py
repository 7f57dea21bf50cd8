"""Helper package of the anomalous sound detection workbook."""
