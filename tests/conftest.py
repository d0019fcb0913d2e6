"""Its presence puts this folder on the import path, so that tests share `tables`, the synthetic rows."""
