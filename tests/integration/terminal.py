#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""husk vm on a pseudo-terminal: raw while it runs, put back on every way out; ctrl-a x ends it.

usage: terminal.py HUSK
"""
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time


def program(code):
    """An ELF64 file of one segment at 1 MiB."""
    ehdr = b"\x7fELF\2\1\1" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    phdr = struct.pack("<IIQQQQQQ", 1, 5, 120, 0x100000, 0x100000, len(code), len(code), 4096)
    return ehdr + phdr + code


# Echo each byte that COM1 receives; 'q' ends with status 5.
ECHO = bytes([
    0x66, 0xBA, 0xFD, 0x03,  # mov dx, 0x3fd
    0xEC,                    # in al, dx
    0xA8, 0x01,              # test al, 1
    0x74, 0xFB,              # jz back to the in
    0x66, 0xBA, 0xF8, 0x03,  # mov dx, 0x3f8
    0xEC,                    # in al, dx
    0x3C, 0x71,              # cmp al, 'q'
    0x74, 0x03,              # je over
    0xEE,                    # out dx, al
    0xEB, 0xEB,              # jmp to the start
    0xB0, 0x02, 0xE6, 0xF4,  # mov al, 2; out 0xf4, al
    0xF4,
])


class Session:
    def __init__(self, husk, kernel):
        self.main, self.sub = pty.openpty()
        self.before = termios.tcgetattr(self.sub)
        self.proc = subprocess.Popen([husk, "vm", "--kernel", kernel], stdin=self.sub,
                                     stdout=self.sub, stderr=self.sub, start_new_session=True)
        os.set_blocking(self.main, False)

    def is_raw(self):
        return not termios.tcgetattr(self.sub)[3] & termios.ICANON

    def wait_raw(self):
        deadline = time.monotonic() + 900
        while not self.is_raw():
            assert time.monotonic() < deadline, "the terminal never became raw"
            time.sleep(0.01)

    def send(self, data):
        os.write(self.main, data)

    def expect(self, data):
        got, deadline = b"", time.monotonic() + 900
        while data not in got:
            assert time.monotonic() < deadline, f"wanted {data!r}, got {got!r}"
            try:
                got += os.read(self.main, 1024)
            except BlockingIOError:
                time.sleep(0.01)

    def finish(self, want):
        status = self.proc.wait(timeout=900)
        assert status == want, f"status {status}, wanted {want}"
        after = termios.tcgetattr(self.sub)
        assert after == self.before, "the terminal was not put back"
        os.close(self.main)
        os.close(self.sub)


def echo_and_quit(s):
    s.wait_raw()
    s.send(b"hello")
    s.expect(b"hello")
    s.send(b"\x01a")  # ctrl-a a sends one ctrl-a
    s.expect(b"\x01")
    s.send(b"\x03z")  # ctrl-c is the guest's
    s.expect(b"\x03z")
    s.send(b"q")
    s.finish(5)


def escape_ends_it(s):
    s.wait_raw()
    s.send(b"abc")
    s.expect(b"abc")
    s.send(b"\x01x")
    s.finish(0)


def signal_ends_it(number):
    def case(s):
        s.wait_raw()
        s.proc.send_signal(number)
        s.finish(128 + number)
    return case


def crash_puts_the_terminal_back(s):
    s.wait_raw()
    s.proc.send_signal(signal.SIGABRT)
    s.finish(-signal.SIGABRT)


def main():
    husk = os.path.abspath(sys.argv[1])
    cases = [("echo_and_quit", echo_and_quit), ("escape_ends_it", escape_ends_it),
             ("sigterm", signal_ends_it(signal.SIGTERM)), ("sighup", signal_ends_it(signal.SIGHUP)),
             ("sigint", signal_ends_it(signal.SIGINT)),
             ("crash", crash_puts_the_terminal_back)]
    failed = 0
    with tempfile.TemporaryDirectory() as tmp:
        kernel = os.path.join(tmp, "echo")
        with open(kernel, "wb") as f:
            f.write(program(ECHO))
        for name, case in cases:
            s = Session(husk, kernel)
            try:
                case(s)
            except (AssertionError, subprocess.TimeoutExpired) as e:
                failed += 1
                print(f"FAIL {name}: {e}")
                s.proc.kill()
                s.proc.wait()
    print(f"{len(cases) - failed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
