#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden tests of rtgc: each NAME.rtg stands beside what it has to give.

  NAME.err   the diagnostics; compilation has to fail
  NAME.ir    the optimised IR; reading it back has to print the same text
  NAME.out   the output, then a line "exit N"; the interpreter (optimised and not) and the compiled
             code (natively or under qemu-user) for all targets have to agree, with all registers and
             with two, and the assembler has to make the same bytes of the assembly text

A first line "// rtgc: ARGS" gives further arguments. --update writes the expected files anew. With
--sources DIR each diagnostic in the compiler's source has to stand in some NAME.err.
"""
import argparse
import glob
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

TARGETS = (("amd64", "x86_64", "qemu-x86_64", ""), ("arm64", "aarch64", "qemu-aarch64", "aarch64-linux-gnu-"),
           ("riscv64", "riscv64", "qemu-riscv64", "riscv64-linux-gnu-"))


def run(cmd, cwd=None):
    p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
    return p.returncode, p.stdout, p.stderr


def shown(result):
    return result[1] + b"exit %d\n" % result[0]


def runner(machine, qemu):
    if platform.machine() == machine:
        return []
    path = shutil.which(qemu) or shutil.which(qemu + "-static")
    return [path] if path else None


class Case:
    def __init__(self, rtgc, path, where, update):
        self.rtgc, self.path, self.where, self.update = rtgc, path, where, update
        self.dir, self.name = os.path.split(path)
        with open(path) as f:
            first = f.readline()
        self.args = shlex.split(first[8:]) if first.startswith("// rtgc:") else []
        self.errors = []

    def compile(self, *args):
        return run([self.rtgc, *args, *self.args, self.name], self.dir)

    def expect(self, what, got, want):
        if got != want:
            self.errors.append(f"{what}:\n--- expected\n{want.decode(errors='replace')}--- got\n"
                               f"{got.decode(errors='replace')}---")

    def golden(self, ext, got):
        path = self.path[:-4] + ext
        if self.update:
            with open(path, "wb") as f:
                f.write(got)
        with open(path, "rb") as f:
            self.expect(ext, got, f.read())

    def err(self):
        status, out, err = self.compile("-emit", "ir")
        self.golden(".err", err)
        if status != 1 or out:
            self.errors.append(f"status {status}, {len(out)} bytes of output")

    def ir(self):
        status, out, err = self.compile("-emit", "ir")
        if status:
            self.errors.append(err.decode())
            return
        self.golden(".ir", out)
        copy = os.path.join(self.where, "copy.ir")
        with open(copy, "wb") as f:
            f.write(out)
        self.expect("IR read back", run([self.rtgc, "-ir", "-O0", "-emit", "ir", copy])[1], out)

    def assembled(self, arch, prefix, opts):
        w = self.where
        p, s, o, e, b = (os.path.join(w, n) for n in ("p", "p.s", "p.o", "p.elf", "p.bin"))
        self.compile("-target", arch, "-emit", "payload", "-o", p, *opts)
        self.compile("-target", arch, "-emit", "asm", "-o", s, *opts)
        for cmd in ([prefix + "as", "-o", o, s], [prefix + "ld", "-Ttext=0", "-e", "0", "-o", e, o],
                    [prefix + "objcopy", "-O", "binary", "-j", ".text", e, b]):
            r = run(cmd)
            if r[0]:
                self.errors.append(f"{arch}: {' '.join(cmd)}: {r[2].decode()}")
                return
        with open(p, "rb") as f, open(b, "rb") as g:
            if f.read() != g.read():
                self.errors.append(f"{arch} {opts}: the assembler makes other bytes")

    def out(self):
        exe = os.path.join(self.where, "exe")
        got = shown(self.compile("-run"))
        self.golden(".out", got)
        self.expect("unoptimised", shown(self.compile("-run", "-O0")), got)
        for arch, machine, qemu, prefix in TARGETS:
            if platform.machine() == machine:
                prefix = ""
            prefix_run = runner(machine, qemu)
            for opts in ([], ["-max-regs", "2"], ["-O0"]):
                c = self.compile("-target", arch, "-o", exe, *opts)
                if c[0]:
                    self.errors.append(c[2].decode())
                elif prefix_run is not None:
                    self.expect(f"{arch} {opts}", shown(run([*prefix_run, exe])), got)
                if shutil.which(prefix + "as") and opts != ["-O0"]:
                    self.assembled(arch, prefix, opts)

    def run(self):
        found = False
        for ext, check in ((".err", self.err), (".ir", self.ir), (".out", self.out)):
            if os.path.exists(self.path[:-4] + ext):
                found = True
                check()
        if not found:
            self.errors.append("no expected result beside it")
        return self.errors


def diagnostics(source):
    """The formats of a source file's diagnostics, each as a regular expression."""
    for call in re.finditer(r"\b(?:ERROR\(k, (?!pos, \.)|diag_error\((?:p|lx)->diags,)", source):
        literal = re.search(r'[,?:]\s*((?:"(?:[^"\\]|\\.)*"|PRI\w+|\s)+)[,)]', source[call.end() - 1:])
        text = "".join(t[1:-1] if t[0] == '"' else "d"
                       for t in re.findall(r'"(?:[^"\\]|\\.)*"|PRI\w+', literal.group(1)))
        parts = re.split(r"(%%|%0?\d*[sdux])", text)
        yield "".join("%" if x == "%%" else ".*" if x.startswith("%") else re.escape(x) for x in parts)


def unseen_diagnostics(sources, cases):
    """Diagnostics that no case expects."""
    seen, formats = "", set()
    for path in glob.glob(os.path.join(cases, "*.err")):
        with open(path) as f:
            seen += f.read()
    for path in glob.glob(os.path.join(sources, "*.c")):
        with open(path) as f:
            formats.update(diagnostics(f.read()))
    return [x for x in sorted(formats) if not re.search("error: " + x + "$", seen, re.M)], len(formats)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("rtgc")
    ap.add_argument("dir")
    ap.add_argument("--update", action="store_true")
    ap.add_argument("--only", default="")
    ap.add_argument("--sources")
    a = ap.parse_args()
    cases = sorted(glob.glob(os.path.join(a.dir, f"*{a.only}*.rtg")))
    failed = 0

    def run_case(path):
        with tempfile.TemporaryDirectory() as where:
            return Case(os.path.abspath(a.rtgc), path, where, a.update).run()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, errors in zip(cases, pool.map(run_case, cases)):
            failed += bool(errors)
            for e in errors:
                print(f"{os.path.basename(path)}: {e}")
    for arch, machine, qemu, prefix in TARGETS:
        if runner(machine, qemu) is None:
            print(f"note: {arch} programs were not run, no {qemu}")
    if a.sources:
        unseen, n = unseen_diagnostics(a.sources, a.dir)
        for x in unseen:
            print(f"no case expects the diagnostic /{x}/")
        print(f"{n} diagnostics, {len(unseen)} without a case")
        failed += len(unseen) or not n
    print(f"{len(cases)} cases, {failed} failed")
    sys.exit(1 if failed or not cases else 0)


if __name__ == "__main__":
    main()
