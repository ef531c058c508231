"""Reads what people have: tables, folders of images, IDX files, built-in sets; and cuts it into batches."""
