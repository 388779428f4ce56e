"""Files of a curation: workspace, Parquet tables, columns of scores."""
