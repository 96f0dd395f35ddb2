/* System calls without a C library: numbers, structures and flags of Linux on x86_64 and aarch64. */
#ifndef SYS_H
#define SYS_H

/* HOSTED is for tests alone: with a C library, as the sanitizers of compilers need it. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int i32;
typedef long i64;
typedef u64 size_t_;

#if defined(__x86_64__)
#define ARCH_ID 1
#define ARCH_NAME "x86_64"
#define NUMBER(x86, arm) x86
#define O_DIRECTORY 0x10000
#define O_NOFOLLOW 0x20000

#ifndef HOSTED
__asm__(".text\n.globl _start\n.type _start,@function\n_start:\n"
        "xor %ebp,%ebp\nmov %rsp,%rdi\nand $-16,%rsp\ncall agent_main\nhlt\n");
#endif

static inline long sys(long n, long a, long b, long c, long d, long e) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

struct stat {
    u64 dev, ino, nlink;
    u32 mode, uid, gid, pad;
    u64 rdev;
    i64 size, blksize, blocks;
    i64 atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    i64 unused[3];
};
#elif defined(__aarch64__)
#define ARCH_ID 2
#define ARCH_NAME "aarch64"
#define NUMBER(x86, arm) arm
#define O_DIRECTORY 0x4000
#define O_NOFOLLOW 0x8000

#ifndef HOSTED
__asm__(".text\n.globl _start\n.type _start,%function\n_start:\n"
        "mov x29,#0\nmov x30,#0\nmov x0,sp\nbl agent_main\nbrk #0\n");
#endif

static inline long sys(long n, long a, long b, long c, long d, long e) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc #0" : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

struct stat {
    u64 dev, ino;
    u32 mode, nlink, uid, gid;
    u64 rdev, pad1;
    i64 size;
    i32 blksize, pad2;
    i64 blocks;
    i64 atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    u32 unused[2];
};
#else
#error "the agent knows x86_64 and aarch64 only"
#endif

#define A(x) ((long)(x))
#define sys0(n) sys(n, 0, 0, 0, 0, 0)
#define sys1(n, a) sys(n, A(a), 0, 0, 0, 0)
#define sys2(n, a, b) sys(n, A(a), A(b), 0, 0, 0)
#define sys3(n, a, b, c) sys(n, A(a), A(b), A(c), 0, 0)
#define sys4(n, a, b, c, d) sys(n, A(a), A(b), A(c), A(d), 0)
#define sys5(n, a, b, c, d, e) sys(n, A(a), A(b), A(c), A(d), A(e))

#define read(fd, p, n) sys3(NUMBER(0, 63), fd, p, n)
#define write(fd, p, n) sys3(NUMBER(1, 64), fd, p, n)
#define close(fd) sys1(NUMBER(3, 57), fd)
#define fstat(fd, st) sys2(NUMBER(5, 80), fd, st)
#define fstatfs(fd, p) sys2(NUMBER(138, 44), fd, p)
#define lseek(fd, at, how) sys3(NUMBER(8, 62), fd, at, how)
#define rt_sigprocmask(how, set, old) sys4(NUMBER(14, 135), how, set, old, 8)
#define ioctl(fd, what, p) sys3(NUMBER(16, 29), fd, what, p)
#define pread(fd, p, n, at) sys4(NUMBER(17, 67), fd, p, n, at)
#define dup3(from, to, flags) sys3(NUMBER(292, 24), from, to, flags)
#define getpid() sys0(NUMBER(39, 172))
#define socket(family, type, protocol) sys3(NUMBER(41, 198), family, type, protocol)
#define connect(fd, p, n) sys3(NUMBER(42, 203), fd, p, n)
#define accept4(fd, flags) sys4(NUMBER(288, 242), fd, 0, 0, flags)
#define bind(fd, p, n) sys3(NUMBER(49, 200), fd, p, n)
#define listen(fd, n) sys2(NUMBER(50, 201), fd, n)
#define fork() sys5(NUMBER(56, 220), SIGCHLD, 0, 0, 0, 0)
#define execve(path, argv, envp) sys3(NUMBER(59, 221), path, argv, envp)
#define exit_group(code) sys1(NUMBER(231, 94), code)
#define wait4(pid, status, flags) sys4(NUMBER(61, 260), pid, status, flags, 0)
#define kill(pid, signal) sys2(NUMBER(62, 129), pid, signal)
#define getdents64(fd, p, n) sys3(NUMBER(217, 61), fd, p, n)
#define openat(dir, path, flags, mode) sys4(NUMBER(257, 56), dir, path, flags, mode)
#define mkdirat(dir, path, mode) sys3(NUMBER(258, 34), dir, path, mode)
#define unlinkat(dir, path, flags) sys3(NUMBER(263, 35), dir, path, flags)
#define renameat(fd1, path1, fd2, path2) sys4(NUMBER(264, 38), fd1, path1, fd2, path2)
#define symlinkat(target, dir, path) sys3(NUMBER(266, 36), target, dir, path)
#define readlinkat(dir, path, p, n) sys4(NUMBER(267, 78), dir, path, p, n)
#define fchmod(fd, mode) sys2(NUMBER(91, 52), fd, mode)
#define fchmodat(dir, path, mode) sys3(NUMBER(268, 53), dir, path, mode)
#define fchown(fd, uid, gid) sys3(NUMBER(93, 55), fd, uid, gid)
#define fchownat(dir, path, uid, gid) \
    sys5(NUMBER(260, 54), dir, path, uid, gid, AT_SYMLINK_NOFOLLOW)
#define fchdir(fd) sys1(NUMBER(81, 50), fd)
#define flock(fd, how) sys2(NUMBER(73, 32), fd, how)
#define utimensat(dir, path, times, flags) sys4(NUMBER(280, 88), dir, path, times, flags)
#define fstatat(dir, path, st) sys4(NUMBER(262, 79), dir, path, st, AT_SYMLINK_NOFOLLOW)
#define ppoll(fds, n, time) sys5(NUMBER(271, 73), fds, n, time, 0, 8)
#define rt_sigtimedwait(set, time) sys4(NUMBER(128, 137), set, 0, time, 8)
#define signalfd4(fd, set, flags) sys4(NUMBER(289, 74), fd, set, 8, flags)
#define pipe2(fds, flags) sys2(NUMBER(293, 59), fds, flags)
#define setpgid(pid, group) sys2(NUMBER(109, 154), pid, group)
#define prctl(what, value) sys5(NUMBER(157, 167), what, value, 0, 0, 0)
#define clock_gettime(which, time) sys2(NUMBER(228, 113), which, time)
#define umask(mask) sys1(NUMBER(95, 166), mask)
#define getuid() sys0(NUMBER(102, 174))
#define getrandom(p, n) sys3(NUMBER(318, 278), p, n, 0)

enum {
    O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0x40, O_EXCL = 0x80, O_NONBLOCK = 0x800,
    O_CLOEXEC = 0x80000, O_PATH = 0x200000,
    AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200,
    S_IFMT = 0170000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000,
    POLLIN = 1, POLLOUT = 4, POLLHUP = 16,
    SIG_BLOCK = 0, SIG_SETMASK = 2,
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGKILL = 9, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17, SIGXFSZ = 25,
    WNOHANG = 1, LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4,
    PR_SET_CHILD_SUBREAPER = 36, TIOCSPGRP = 0x5410,
    AF_UNIX = 1, SOCK_SEQPACKET = 5, SOCK_CLOEXEC = 0x80000
};

enum {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, E2BIG = 7, EAGAIN = 11, EACCES = 13, EBUSY = 16,
    EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EFBIG = 27, ENAMETOOLONG = 36,
    ENOTEMPTY = 39, ELOOP = 40, EBADMSG = 74, ETIMEDOUT = 110
};

struct timespec { i64 sec, nsec; };
struct pollfd { i32 fd; u16 events, revents; };
struct dirent64 { u64 ino; i64 off; u16 reclen; u8 type; char name[]; };
struct sockaddr_un { u16 family; char path[108]; };

#endif
