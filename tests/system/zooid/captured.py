"""A process whose registers are ours, as those of a captured program are its
captor's: it makes the system calls that we choose, with its own uid, filter
and descriptors. x86_64."""

import ctypes
import os
import pathlib
import signal

ATTACH, DETACH, GETREGS, SETREGS, SINGLESTEP = 16, 17, 12, 13, 9
WALL = 0x40000000
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax "
         "rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()
ARGUMENTS = "rdi rsi rdx r10 r8 r9".split()
MASK = (1 << 64) - 1
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                        ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in NAMES]


class Killed(Exception):
    """By its filter: signal SIGSYS."""


class Captured:
    def __init__(self, pid):
        self.pid = pid
        self._ptrace(ATTACH)
        self._wait()
        self.saved = self._registers()
        self.syscall_at = self._syscall_at()
        self.memory = os.open("/proc/%d/mem" % pid, os.O_RDWR)

    def _ptrace(self, what, data=None):
        if libc.ptrace(what, self.pid, None, data) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def _wait(self):
        _, status = os.waitpid(self.pid, WALL)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGSYS, status
            raise Killed
        assert os.WIFSTOPPED(status), status

    def _registers(self):
        registers = Registers()
        self._ptrace(GETREGS, ctypes.addressof(registers))
        return registers

    def _syscall_at(self):
        """Where its code has the instruction."""
        maps = pathlib.Path("/proc/%d/maps" % self.pid).read_text()
        with open("/proc/%d/mem" % self.pid, "rb") as memory:
            for line in maps.splitlines():
                bounds, mode = line.split()[:2]
                if "x" not in mode or "[v" in line:
                    continue
                first, last = (int(n, 16) for n in bounds.split("-"))
                memory.seek(first)
                at = memory.read(last - first).find(b"\x0f\x05")
                if at >= 0:
                    return first + at
        raise AssertionError(maps)

    def call(self, number, *arguments):
        """What the kernel returns; bytes are put into its memory. Killed."""
        registers = Registers.from_buffer_copy(self.saved)
        place = self.saved.rsp - 8192
        for name, value in zip(ARGUMENTS, arguments):
            if isinstance(value, bytes):
                os.pwrite(self.memory, value + b"\0", place)
                value, place = place, place + len(value) + 16
            setattr(registers, name, value & MASK)
        registers.rax, registers.orig_rax = number, MASK
        registers.rip = self.syscall_at
        self._ptrace(SETREGS, ctypes.addressof(registers))
        self._ptrace(SINGLESTEP)
        self._wait()
        return ctypes.c_long(self._registers().rax).value

    def release(self):
        """It goes on as if nothing had happened."""
        os.close(self.memory)
        if not pathlib.Path("/proc/%d" % self.pid).exists():
            return
        self._ptrace(SETREGS, ctypes.addressof(self.saved))
        self._ptrace(DETACH)
