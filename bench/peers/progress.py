"""How far the run is, on standard error: a bar with the time left on a terminal, else a line per case."""

import shutil
import sys
import time


def duration(seconds):
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"


class Progress:
    def __init__(self, total, stream=sys.stderr):
        self.total, self.done, self.stream = total, 0, stream
        self.terminal = stream.isatty()
        self.began = time.monotonic()

    def say(self, text):
        self.clear()
        print(text, file=self.stream, flush=True)

    def start(self, name):
        if not self.terminal:
            return
        spent = time.monotonic() - self.began
        left = f"{duration(spent / self.done * (self.total - self.done))} left" if self.done else "the first case"
        width = 24
        full = width * self.done // self.total
        text = f"[{'#' * full}{'.' * (width - full)}] {self.done}/{self.total}, {left}  {name}"
        self.clear()
        print(text[:shutil.get_terminal_size().columns - 1], end="", file=self.stream, flush=True)

    def end(self, line):
        self.done += 1
        if not self.terminal:
            self.say(f"{self.done}/{self.total} {line}")

    def clear(self):
        if self.terminal:
            print("\r\x1b[K", end="", file=self.stream, flush=True)
