"""The launcher: sets LOCAL_RANK and runs the script in a child process."""

import argparse
import os
import subprocess
import sys

parser = argparse.ArgumentParser(allow_abbrev=False)
for flag in ("--nnodes", "--nproc_per_node", "--master_port"):
    parser.add_argument(flag, type=int, required=True)
parser.add_argument("--master_addr", required=True)
parser.add_argument("rest", nargs=argparse.REMAINDER)
args = parser.parse_args()
sys.exit(subprocess.call([sys.executable, "-u", *args.rest], env={**os.environ, "LOCAL_RANK": "0"}))
