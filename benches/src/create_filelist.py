"""The peer of `cairn lists`: a time list by walking, format version 2.

Written for this comparison after the format's description, in the way such scripts work: one walk
with scandir, one lstat for each entry, time = max(mtime, ctime), rows sorted at the end, no
checksums of contents.
"""

import argparse
import os
import stat


def rows_below(root, skip):
    rows = []
    pending = [("", True)]
    while pending:
        folder, open_above = pending.pop()
        with os.scandir(os.path.join(root, folder) if folder else root) as entries:
            for entry in entries:
                name = entry.name
                if name in skip or name == ".~tmp~" or name.startswith(".nfs"):
                    continue
                path = folder + "/" + name if folder else name
                info = entry.stat(follow_symlinks=False)
                mode = info.st_mode
                if entry.is_symlink():
                    if not os.path.exists(entry.path):
                        continue
                    kind = "l"
                elif not mode & stat.S_IRGRP:
                    continue
                elif stat.S_ISDIR(mode):
                    kind = "d"
                else:
                    kind = "f"
                readable = bool(mode & stat.S_IROTH)
                mark = "-" if not readable else "" if open_above else "*"
                if kind == "d":
                    pending.append((path, open_above and readable))
                time = int(max(info.st_mtime, info.st_ctime))
                rows.append((path, f"{time}\t{kind}{mark}\t{info.st_size}\t{path}\n"))
    rows.sort()
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("output")
    parser.add_argument("--skip", action="append", default=[])
    arguments = parser.parse_args()
    rows = rows_below(arguments.root, set(arguments.skip))
    with open(arguments.output, "w", encoding="utf-8", errors="surrogateescape") as output:
        output.write("[Version]\n2\n\n[Files]\n")
        output.writelines(row for _, row in rows)
        output.write("\n[Checksums SHA1]\n\n[End]\n")


main()
