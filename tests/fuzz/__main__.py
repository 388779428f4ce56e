"""`python -m tests.fuzz --variants 2000 --seed 0`: damage files at the byte level and read them.

Videos, images, tracks, records, tables and archives. Exit status 1, with a line for each, if a file was neither read
nor refused with a named error in time, or if processes, memory, open files or temporary files are left. The same seed
makes the same files, one by one: variant 17 of a run of 20 is variant 17 of a run of 2,000.
"""

import argparse
import sys
import time

from tests.fuzz.fuzzing import fuzz


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=2000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", default="0", help="another seed, other damage (default: %(default)s)")
    args = parser.parse_args()
    start = time.monotonic()
    findings = fuzz(args.variants, args.seed)
    print(f"{args.variants} damaged files, seed {args.seed}, {time.monotonic() - start:.0f} s")
    print("ends: " + ", ".join(f"{code} {count}" for code, count in findings.ends.most_common()))
    print(f"slowest: {findings.slowest_s:.1f} s, {findings.slowest}; memory {findings.leaked_mb:+.0f} MB")
    for fault in findings.faults:
        print(f"fault: {fault}")
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
