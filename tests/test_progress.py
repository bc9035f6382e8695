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


def test_what_was_done_earlier_does_not_count_in_the_rate():
    code = (
        "import time; from tfrecords_tools.progress import progress\n"
        "with progress(total=1000, desc='fit', unit='step', done=900) as bar:\n"
        "    for _ in range(10): time.sleep(0.02); bar.update()\n"
        "    facts = bar.format_dict\n"
        "print(facts['n'], (facts['n'] - facts['initial']) / facts['elapsed'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, rate = map(float, done.stdout.split())
    assert count == 910
    assert 1 < rate < 50  # 0.02 s each; with those done earlier it would be thousands


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
