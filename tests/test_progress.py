"""Progress is a bar on a terminal and whole lines elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

from tfrecords_tools.progress import progress

CODE = (
    "import time; from tfrecords_tools import progress as module\n"
    "module.LINE_EVERY_SECONDS = 0.05\n"
    "for _ in module.progress(range(20), desc='read', unit='file'): time.sleep(0.02)\n"
)
NESTED = (
    "import sys, time; from tfrecords_tools.progress import progress, write_above\n"
    "with progress(total=2, desc='fit', unit='step') as outer:\n"
    "    for step in range(2):\n"
    "        for _ in progress(range(3), desc='score', unit='batch'): time.sleep(0.12)\n"
    "        write_above(f'step {step} ' + 100 * '.' + '\\n')\n"
    "        outer.update(); outer.note('loss 0.5')\n"
    "print('the end', file=sys.stderr)\n"
)


def on_a_terminal(code: str) -> str:
    """What a process writes to a terminal of 80 columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # a new one has 0x0
    environment = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=child, env=environment)
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    return re.sub(r"\x1b\[\d*m", "", shown.decode("utf-8"))  # without colours


def test_a_pipe_gets_whole_lines_with_rate_and_time_left():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr
    assert len(lines) >= 2
    assert all(line.startswith("read: ") for line in lines)
    assert "file/s" in lines[0]
    assert " left" in lines[0]
    assert lines[-1].startswith("read: 100 %, 20 of 20 in 0:00:0")


def test_short_work_writes_no_line(capsys):
    assert list(progress(range(3), desc="read", unit="file")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_work_done_earlier_does_not_count_in_the_rate():
    with progress(total=1000, desc="fit", unit="step", done=900) as bar:
        for _ in range(10):
            time.sleep(0.02)
            bar.update()
        bar.note("loss 0.5")
        count, _, rate, note = bar.status().split(", ")[1:]
    assert count == "910 of 1,000 in 0:00:00"
    assert 1 < float(rate.removesuffix(" step/s")) <= 50  # with earlier steps it would be thousands
    assert note == "loss 0.5"


def test_a_terminal_gets_a_bar_that_is_drawn_over():
    shown = on_a_terminal(CODE)
    assert re.search(r"\rread: ━+ 100 %, 20 of 20 in 0:00:0", shown.replace("\x1b[2K", ""))
    assert shown.count("\n") == 1


def test_log_lines_and_nested_bars_do_not_cut_a_bar():
    shown = on_a_terminal(NESTED)
    lines = re.sub(r"\x1b\[\??\d*\w", "", shown.replace("\r\n", "\n")).splitlines()
    assert f"step 1 {100 * '.'}" in lines
    assert any(line.startswith("score: ") and "33 %" in line for line in lines)
    bars = [line for line in lines if line.startswith("fit: ")]
    assert all(len(line) <= 80 for line in bars)
    assert bars[-1].rstrip().endswith("loss 0.5")
    assert lines[-1] == "the end"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is shown again
