#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which rules of the table do traces use, and what do threads call that no rule has?

usage: used.py RULES SKIP TRACE...
RULES is what jail-rules --lines prints, SKIP a regular expression of system calls and requests that this
machine cannot make, a TRACE what strace -f -Y -X raw wrote. A thread's calls count from its filter on.
"""
import collections
import re
import sys

ROLES = [(r'^vcpu\d+$', 'vCPU'), (r'^devices$', 'devices'), (r'^husk-fs$', 'files')]
CALL = re.compile(r'^(\d+)(?:<(.*?)>)? +(\w+)\((.*)$')
FILTER = re.compile(r'0x1, 0, \{len=')


def role_of(comm, is_proxy):
    for pattern, role in ROLES:
        if re.match(pattern, comm or ''):
            return role
    return 'proxy' if is_proxy else 'control'


def arguments(text):
    """Numbers where an argument is one."""
    depth, quoted, at, found = 0, False, 0, []
    for i, c in enumerate(text):
        if c == '"' and text[i - 1] != '\\':
            quoted = not quoted
        elif not quoted and c in '{[(':
            depth += 1
        elif not quoted and c in '}])' and depth:
            depth -= 1
        elif not quoted and not depth and (c in ',)' or text[i:].startswith(' <unfinished')):
            found.append(text[at:i].strip())
            at = i + 1
            if c != ',':
                break
    return [int(a, 0) if re.match(r'^-?(0x[0-9a-f]+|\d+)$', a) else None for a in found]


def read_rules(path):
    rules = collections.OrderedDict()
    for line in open(path):
        roles, name, rare, *rest = line.split()
        conds = [tuple(int(x, 0) for x in c.split(':')) for c in ''.join(rest).split(';') if c]
        for role in roles.split(','):
            rules[(role, name, tuple(conds))] = [rare == '1', 0]
    return rules


def holds(conds, args):
    for arg, mask, value in conds:
        if arg >= len(args) or args[arg] is None or args[arg] & mask & 0xffffffff != value & 0xffffffff:
            return False
    return True


def count(rules, path, unknown):
    locked = set()
    for line in open(path, errors='replace'):
        m = CALL.match(line)
        if not m:
            continue
        tid, comm, name, text = m.groups()
        if name == 'seccomp' and FILTER.match(text) and '= 0' in text:
            locked.add(tid)
            continue
        if tid not in locked:
            continue
        role, args, found = role_of(comm, 'proxy' in path), arguments(text), False
        for (r, n, conds), state in rules.items():
            if r == role and n == name and holds(conds, args):
                state[1] += 1
                found = True
        if not found:
            unknown.add('%s: %s(%s' % (role, name, text[:100]))


def main():
    rules, unknown = read_rules(sys.argv[1]), set()
    for path in sys.argv[3:]:
        count(rules, path, unknown)
    bad = 0
    for (role, name, conds), (rare, n) in rules.items():
        what = '%s %s %s' % (role, name, ' '.join('%d:%#x' % (c[0], c[2]) for c in conds))
        if not n and not rare and not re.search(sys.argv[2], what):
            print('not used: ' + what)
            bad += 1
    for what in sorted(unknown):
        print('no rule: ' + what)
        bad += 1
    print('%d rules, %d used' % (len(rules), sum(1 for r in rules.values() if r[1])))
    return 1 if bad else 0


sys.exit(main())
