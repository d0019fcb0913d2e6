"""A static site from the tables of several results folders: boards, a page per row, downloads."""
