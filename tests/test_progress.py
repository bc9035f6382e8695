"""Progress is a bar on a terminal and whole lines elsewhere."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

CODE = (
    "import time; from tfrecords_tools import progress as module\n"
    "module.LINE_EVERY_SECONDS = 0.05\n"
    "for _ in module.progress(range(20), desc='read', unit='file'): time.sleep(0.02)\n"
)


def test_a_pipe_gets_whole_lines_with_rate_and_time_left():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr
    assert len(lines) >= 2
    assert all(line.startswith("read:") for line in lines if line)
    assert "file/s" in lines[0]


def test_a_terminal_gets_a_bar_that_is_drawn_over():
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # a new one has 0x0
    process = subprocess.Popen([sys.executable, "-c", CODE], stderr=child)
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    assert b"\rread: 100%|" in shown
