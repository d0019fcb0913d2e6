"""All that draws: figures of the ranked rows, as PNG and SVG."""
