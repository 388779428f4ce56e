"""What every file of scores begins with: the clip, its file's stamp, and whether it was scored."""

import pyarrow as pa

STATE = [("clip_id", pa.string()), ("stamp", pa.string()), ("state", pa.string()), ("error", pa.string()),
         ("detail", pa.string())]  # fmt: skip
SCORED, FAILED, NOT_YET = "scored", "error", ""
