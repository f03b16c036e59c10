"""A seccomp filter for generated code: no sockets, no new processes, no hand on other processes or on the owners of files.

It needs no privilege and holds whoever the user is (RLIMIT_NPROC does not bind root). EvalPlus takes ``os.fork`` and
``subprocess.Popen`` away from solutions anyway, so it changes no score. Instruction and constant names are those of
linux/filter.h and linux/seccomp.h; see the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import os
import struct

from lorabench.sandbox.kernel import PR_SET_NO_NEW_PRIVS, prctl

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE, ABSENT = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # REFUSE: EPERM; ABSENT: ENOSYS
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the low half of the first argument
CLONE_THREAD = 0x00010000
PR_SET_SECCOMP, FILTER = 22, 2

# Audit code, then system call numbers: refused ones; those allowed when the first argument is the process itself, and those
# allowed when it is that or 0, which means the caller; clone and clone3. Landlock does not know modes, owners and times.
TABLE: dict[str, tuple[int, dict[str, int], dict[str, int], dict[str, int], int, int]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "fork": 57, "vfork": 58, "ptrace": 101, "rt_sigqueueinfo": 129, "tkill": 200, "mq_open": 240,
            "mount": 165, "unshare": 272, "rt_tgsigqueueinfo": 297, "setns": 308, "process_vm_readv": 310,
            "process_vm_writev": 311, "bpf": 321, "userfaultfd": 323, "shmget": 29, "semget": 64, "msgget": 68,
            "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440,
            "process_mrelease": 448, "kcmp": 312, "perf_event_open": 298, "migrate_pages": 256, "move_pages": 279,
            "setpriority": 141, "ioprio_set": 251, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setattr": 314,
            "add_key": 248, "request_key": 249, "keyctl": 250, "open_by_handle_at": 304,
            "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94,
            "fchownat": 260, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188, "lsetxattr": 189,
            "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "setxattrat": 463,
            "removexattrat": 466,
        },
        {"kill": 62, "tgkill": 234},
        {"prlimit64": 302, "sched_setaffinity": 203},
        56,
        435,
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "ptrace": 117, "rt_sigqueueinfo": 138, "tkill": 130, "mq_open": 180, "mount": 40, "unshare": 97,
            "rt_tgsigqueueinfo": 240, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
            "userfaultfd": 282, "shmget": 194, "semget": 190, "msgget": 186, "pidfd_send_signal": 424, "io_uring_setup": 425,
            "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "process_mrelease": 448, "kcmp": 272,
            "perf_event_open": 241, "migrate_pages": 238, "move_pages": 239, "setpriority": 140, "ioprio_set": 30,
            "sched_setparam": 118, "sched_setscheduler": 119, "sched_setattr": 274, "add_key": 217, "request_key": 218,
            "keyctl": 219, "open_by_handle_at": 265, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchownat": 54,
            "fchown": 55, "utimensat": 88, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14,
            "lremovexattr": 15, "fremovexattr": 16, "setxattrat": 463, "removexattrat": 466,
        },
        {"kill": 129, "tgkill": 131},
        {"prlimit64": 261, "sched_setaffinity": 122},
        220,
        435,
    ),
}  # fmt: skip


def _program(machine: str) -> bytes:
    audit, refused, to_itself, to_caller, clone, clone3 = TABLE[machine]

    def step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("HBBI", code, then, otherwise, value)

    program = [step(LOAD, ARCHITECTURE), step(EQUAL, audit, 1), step(RETURN, KILL), step(LOAD, NUMBER)]
    program += [step(AT_LEAST, 0x40000000, 0, 1), step(RETURN, REFUSE)]  # x86_64's second set of numbers (x32)
    for number in refused.values():
        program += [step(EQUAL, number, 0, 1), step(RETURN, REFUSE)]
    program += [step(EQUAL, clone3, 0, 1), step(RETURN, ABSENT)]  # its flags lie in memory; libc falls back to clone
    program += [step(EQUAL, clone, 0, 4), step(LOAD, ARGUMENT), step(ANY_BIT, CLONE_THREAD, 1)]
    program += [step(RETURN, REFUSE), step(RETURN, ALLOW)]
    for number in to_itself.values():
        program += [step(EQUAL, number, 0, 4), step(LOAD, ARGUMENT), step(EQUAL, os.getpid(), 1)]
        program += [step(RETURN, REFUSE), step(RETURN, ALLOW)]
    for number in to_caller.values():
        program += [step(EQUAL, number, 0, 5), step(LOAD, ARGUMENT), step(EQUAL, os.getpid(), 2), step(EQUAL, 0, 1)]
        program += [step(RETURN, REFUSE), step(RETURN, ALLOW)]
    return b"".join([*program, step(RETURN, ALLOW)])


def refuse_processes_and_sockets() -> bool:
    """Install the filter in this process for good; False where the machine or its kernel does not know it."""
    machine = os.uname().machine
    if machine not in TABLE:
        return False
    program = ctypes.create_string_buffer(code := _program(machine), len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program)))
    return prctl(PR_SET_NO_NEW_PRIVS, 1) and prctl(PR_SET_SECCOMP, FILTER, header)
