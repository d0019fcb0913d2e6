"""The pages of a report: what stands on report.html, from the top to the folded parts."""
