"""First columns of every file of scores: clip id, stamp of its video, state and error."""

import pyarrow as pa

STATE = [("clip_id", pa.string()), ("stamp", pa.string()), ("state", pa.string()), ("error", pa.string()),
         ("detail", pa.string())]  # fmt: skip
SCORED, FAILED, NOT_YET = "scored", "error", ""
