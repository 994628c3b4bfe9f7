"""An executor whose processes are simulated in one thread, so that what becomes of tasks is a plan."""

import pickle
import random
import threading
from concurrent.futures import BrokenExecutor, Executor, Future

from fastntk.engine import held


class Unreliable(Executor):
    """Tasks and results travel as bytes to so many workers and back; each has a memory of its own.

    ``fate(executor)`` gives, for each task in turn, one of

        "run"      it is done
        "twice"    it is done twice; the second result is the one that counts
        "cancel"   its future is cancelled, as when somebody shuts a pool down
        "restart"  the worker has lost its memory before
        "break"    the executor breaks, with all its tasks
        an exception, which the task raises
    """

    def __init__(self, fate=lambda executor: "run", num_workers=2, seed=0):
        self.fate, self.num_workers, self.chance = fate, num_workers, random.Random(seed)
        self.memories = [{} for _ in range(num_workers)]  # what each worker holds
        self.tasks, self.sent, self.received = [], [], []  # waiting; bytes of each task and result
        self.begun, self.broken, self.is_over = 0, None, False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def submit(self, function, /, *arguments):
        with self.changed:
            if self.broken:
                raise self.broken
            if self.is_over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future, task = Future(), pickle.dumps((function, arguments))
            self.sent.append(len(task))
            self.tasks.append((future, task))
            self.changed.notify_all()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        with self.changed:
            self.is_over = True
            self.changed.notify_all()
        if wait:
            self.thread.join()

    def _work(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.tasks or self.is_over)
                if not self.tasks:
                    return
                future, task = self.tasks.pop(self.chance.randrange(len(self.tasks)))
            if future.set_running_or_notify_cancel():
                self._do(future, task)

    def _do(self, future, task):
        self.begun += 1
        fate = self.fate(self)
        memory = self.chance.choice(self.memories)
        if isinstance(fate, BaseException):
            future.set_exception(fate)
        elif fate == "cancel":
            future._state = "PENDING"  # no public way to cancel what has begun
            future.cancel()
        elif fate == "break":
            with self.changed:
                self.broken = BrokenExecutor("a worker died")
                for other, _ in [(future, task), *self.tasks]:
                    other.set_exception(self.broken)
                self.tasks.clear()
        else:
            if fate == "restart":
                memory.clear()
            for _ in range(2 if fate == "twice" else 1):
                self._run(future if fate != "twice" or _ == 1 else Future(), task, memory)

    def _run(self, future, task, memory):
        held._held, before = memory, held._held
        try:
            function, arguments = pickle.loads(task)
            result = pickle.dumps(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        else:
            self.received.append(len(result))
            future.set_result(pickle.loads(result))
        finally:
            held._held = before
