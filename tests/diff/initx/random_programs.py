#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random RTG programs: the IR interpreter against compiled code on all three targets.

Each program is well typed, ends, and prints what it computed. It is interpreted (unoptimised: the
plainest meaning), then compiled for every target with all registers, with few, and without the
optimiser, and run natively or under qemu-user. All outputs have to be equal.
"""
import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile

INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
BITS = {t: int(t.lstrip("uint")) for t in INTS}
EDGE = [0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 65, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1,
        2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -128, -32768, -2**31, -2**63]


class Gen:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.funcs = []
        self.out = []
        self.depth = 0
        self.n = 0

    def literal(self, t):
        lo, hi = (0, 2 ** BITS[t] - 1) if t[0] == "u" else (-2 ** (BITS[t] - 1), 2 ** (BITS[t] - 1) - 1)
        v = self.r.choice([x for x in EDGE if lo <= x <= hi] + [self.r.randint(lo, hi)])
        return f"{t}({v})"

    def expr(self, t, vars_, depth):
        r = self.r
        if depth <= 0 or r.random() < 0.12:
            same = [n for n, vt in vars_ if vt == t]
            if same and r.random() < 0.8:
                return r.choice(same)
            return self.literal(t)
        kind = r.random()
        if kind < 0.55:
            op = r.choice(["+", "-", "*", "&", "|", "^", "+", "-", "*"])
            return f"({self.expr(t, vars_, depth - 1)} {op} {self.var_first(t, vars_, depth - 1)})"
        if kind < 0.65:
            return f"({self.var_first(t, vars_, depth - 1)} {r.choice('/%')} {self.var_only(t, vars_)})"
        if kind < 0.77:
            ct = r.choice(INTS)
            count = self.var_only(ct, vars_) if r.random() < 0.5 else str(r.choice([0, 1, 3, 7, 8, 15, 31, 32, 63, 64, 70]))
            return f"({self.var_only(t, vars_)} {r.choice(['<<', '>>'])} {count})"
        if kind < 0.85:
            return f"({r.choice('-^')}{self.var_only(t, vars_)})"
        if kind < 0.95:
            f = r.choice(INTS)
            return f"{t}({self.var_only(f, vars_) if r.random() < .5 else self.nonconst(f, vars_, depth - 1)})"
        if self.funcs:
            name, params, ret = r.choice(self.funcs)
            args = ", ".join(self.expr(p, vars_, depth - 2) for p in params)
            return f"{t}({name}({args}))" if ret != t else f"{name}({args})"
        return self.var_only(t, vars_)

    # Something the compiler cannot fold: constant overflow would be an error.
    def var_only(self, t, vars_):
        same = [n for n, vt in vars_ if vt == t]
        if same:
            return self.r.choice(same)
        n, vt = self.r.choice(vars_)
        return f"{t}({n})"

    def var_first(self, t, vars_, depth):
        return self.nonconst(t, vars_, depth)

    def nonconst(self, t, vars_, depth):
        if depth <= 0:
            return self.var_only(t, vars_)
        op = self.r.choice(["+", "^", "-"])
        return f"({self.var_only(t, vars_)} {op} {self.expr(t, vars_, depth - 1)})"

    def safe_expr(self, t, vars_, depth):
        return self.nonconst(t, vars_, depth)

    def cond(self, vars_, depth):
        r = self.r
        if depth > 0 and r.random() < 0.3:
            return f"({self.cond(vars_, depth - 1)} {r.choice(['&&', '||'])} {self.cond(vars_, depth - 1)})"
        if depth > 0 and r.random() < 0.1:
            return f"!{self.cond(vars_, depth - 1)}" if r.random() < .5 else f"!({self.cond(vars_, depth - 1)})"
        t = r.choice(INTS)
        op = r.choice(["<", "<=", ">", ">=", "==", "!="])
        return f"({self.safe_expr(t, vars_, 2)} {op} {self.expr(t, vars_, 1)})"

    def emit(self, s):
        self.out.append("\t" * self.depth + s)

    def block(self, vars_, ret, budget):
        r = self.r
        vars_ = list(vars_)
        mutable = [v for v in vars_ if not v[0].startswith("k")]
        for _ in range(r.randint(1, 5)):
            kind = r.random()
            if kind < 0.35:
                self.n += 1
                t = r.choice(INTS)
                name = f"v{self.n}"
                self.emit(f"var {name} {t} = {self.safe_expr(t, vars_, r.randint(1, 5))}")
                vars_.append((name, t))
                mutable.append((name, t))
            elif kind < 0.65 and mutable:
                name, t = r.choice(mutable)
                if r.random() < 0.3:
                    self.emit(f"{name} {r.choice(['+=', '-=', '*=', '^=', '|=', '&='])} {self.safe_expr(t, vars_, 2)}")
                elif r.random() < 0.1:
                    self.emit(f"{name}{r.choice(['++', '--'])}")
                else:
                    self.emit(f"{name} = {self.safe_expr(t, vars_, r.randint(1, 6))}")
            elif kind < 0.80 and budget > 0:
                self.emit(f"if {self.cond(vars_, 2)} {{")
                self.nested(vars_, ret, budget - 1)
                if r.random() < 0.5:
                    self.emit("} else {")
                    self.nested(vars_, ret, budget - 1)
                self.emit("}")
            elif kind < 0.90 and budget > 0:
                self.n += 1
                k = f"k{self.n}"
                self.emit(f"{k} := 0")
                self.emit(f"for {k} < {r.randint(1, 6)} {{")
                self.depth += 1
                self.emit(f"{k}++")
                if r.random() < 0.3:
                    self.emit(f"if {self.cond(vars_, 1)} {{")
                    self.emit(f"\t{r.choice(['break', 'continue'])}")
                    self.emit("}")
                self.block(vars_ + [(k, "int64")], ret, budget - 1)
                self.depth -= 1
                self.emit("}")
            elif kind < 0.95:
                self.n += 1
                b = f"b{self.n}"
                size = r.choice([8, 16, 24, 64, 200])
                self.emit(f"var {b} [{size}]byte")
                w = r.choice([8, 16, 32, 64])
                off = r.randrange(0, size - w // 8 + 1)
                t = r.choice(INTS)
                self.emit(f"Store{w}({b}, {off}, {self.safe_expr(t, vars_, 3)})")
                self.emit(f"{b}[{self.var_only('uint64', vars_)} % {size}] = {self.safe_expr('uint8', vars_, 2)}")
                self.n += 1
                w = r.choice([8, 16, 32, 64])
                self.emit(f"v{self.n} := Load{w}({b}, {r.randrange(0, size - w // 8 + 1)})")
                vars_.append((f"v{self.n}", "int64"))
                mutable.append((f"v{self.n}", "int64"))
            else:
                self.emit(f"g{r.randrange(3)} = {self.safe_expr('int64', vars_, 2)}")

    def nested(self, vars_, ret, budget):
        self.depth += 1
        self.block(vars_, ret, budget)
        self.depth -= 1

    def func(self, i):
        r = self.r
        params = [(f"p{j}", r.choice(INTS)) for j in range(r.randint(1, 6))]
        ret = r.choice(INTS)
        self.emit(f"func f{i}({', '.join(f'{n} {t}' for n, t in params)}) {ret} {{")
        self.depth += 1
        self.emit("steps++")
        self.emit("if steps > 2000 {")
        self.emit(f"\treturn {self.literal(ret)}")
        self.emit("}")
        many = params
        if r.random() < 0.4:  # many values alive at once: they have to spill
            for _ in range(r.randint(8, 30)):
                self.n += 1
                t = r.choice(INTS)
                self.emit(f"w{self.n} := {self.safe_expr(t, params, 2)}")
                many = many + [(f"w{self.n}", t)]
        self.block(many, ret, 3)
        total = " ^ ".join(f"{ret}({n})" for n, _ in many)
        self.emit(f"return {total}")
        self.depth -= 1
        self.emit("}")
        self.emit("")
        self.funcs.append((f"f{i}", [t for _, t in params], ret))

    def program(self):
        self.out = ["package main", "", "var steps int64", "var g0 int64", "var g1 int64", "var g2 int64", ""]
        for i in range(self.r.randint(2, 5)):
            self.func(i)
        self.emit("func main(sp uintptr) int64 {")
        self.depth += 1
        for name, params, ret in self.funcs:
            for _ in range(3):
                args = ", ".join(self.literal(p) for p in params)
                fmt = self.r.choice(["%d", "%x"])
                self.emit("steps = 0")
                self.emit(f'Printf("{name} {fmt} {fmt} {fmt}\\n", {name}({args}), g0 + g1, g2)')
        self.emit("return g0 & 127")
        self.depth -= 1
        self.emit("}")
        return "\n".join(self.out) + "\n"


def run(cmd):
    p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p.returncode, p.stdout, p.stderr


def runners():
    found = []
    for arch, machine, qemu in (("amd64", "x86_64", "qemu-x86_64"), ("arm64", "aarch64", "qemu-aarch64"),
                                ("riscv64", "riscv64", "qemu-riscv64")):
        if platform.machine() == machine:
            found.append((arch, []))
        elif shutil.which(qemu):
            found.append((arch, [shutil.which(qemu)]))
        elif shutil.which(qemu + "-static"):
            found.append((arch, [shutil.which(qemu + "-static")]))
        else:
            print(f"note: {arch} is left out, no {qemu}")
    return found


def check(rtgc, seed, where, targets):
    src = os.path.join(where, "p.rtg")
    exe = os.path.join(where, "p")
    with open(src, "w") as f:
        f.write(Gen(seed).program())
    want = run([rtgc, "-run", "-O0", src])
    if want[2]:
        return f"interpreter: {want[2].decode()[:2000]}"
    got = run([rtgc, "-run", src])
    if got != want:
        return "optimiser changes the result"
    for arch, prefix in targets:
        options = [[], ["-max-regs", str(1 + seed % 5)], ["-O0"]]
        for opts in (options if not prefix else options[seed % 3:seed % 3 + 1]):
            c = run([rtgc, "-target", arch, *opts, "-o", exe, src])
            if c[0]:
                return f"{arch} {opts}: {c[2].decode()[:2000]}"
            got = run([*prefix, exe])
            if got[:2] != want[:2]:
                return f"{arch} {opts}: differs (status {got[0]}, want {want[0]})"
    return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("rtgc")
    ap.add_argument("--count", type=int, default=10000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--keep", help="directory for a failing program")
    a = ap.parse_args()
    targets = runners()
    failed = 0
    with tempfile.TemporaryDirectory() as where:
        for seed in range(a.seed, a.seed + a.count):
            e = check(a.rtgc, seed, where, targets)
            if not e:
                continue
            failed += 1
            print(f"seed {seed}: {e}")
            if a.keep:
                shutil.copy(os.path.join(where, "p.rtg"), os.path.join(a.keep, f"{seed}.rtg"))
            if failed == 10:
                break
    print(f"{a.count} programs, targets {' '.join(t for t, _ in targets)}: {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
