"""Work on files that are larger than memory: a model's verb on every row, resumed after a kill."""

from clozework.bulk.jobs import JobProgress, JobSummary, run_job
from clozework.bulk.rows import Row, RowFile, open_rows, text_column

__all__ = ["JobProgress", "JobSummary", "Row", "RowFile", "open_rows", "run_job", "text_column"]
