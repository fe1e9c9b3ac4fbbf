"""Files of any kind: rows, records, Parquet, journals, settings; read in pieces, written whole."""
