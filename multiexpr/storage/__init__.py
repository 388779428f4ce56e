"""The files of a curation: Parquet tables, score columns, the workspace."""
