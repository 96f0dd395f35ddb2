/* `supervise`: the first process of a container. Runs the argv it is given, hands signals on, reaps
   what is left behind, restarts on command, and ends as the child ends. */
#ifndef SUPERVISE_H
#define SUPERVISE_H
#include "child.h"
#include "proc.h"

enum { ASK_STATUS = 1, ASK_RESTART = 2, ASK_SIGNAL = 3, ASK_STOP = 4 };
enum { STOPPED = 0, RUNNING = 1 };

/* Over the control socket, both little-endian. */
struct ask { u8 version, what, signal, zero; u32 grace_ms; };
struct answer { u32 error, pid, generation; i32 last; u32 state; };

static struct {
    char **argv;
    long pid;
    u32 generation;
    i32 last;
    u8 hold;
    u8 ending;  /* 1: SIGINT or SIGQUIT came, 2: SIGTERM */
    u8 pending; /* an ask that waits for the child's end */
    u8 killed;
    i64 deadline;
    int listener, client;
} boss;

static void answer(u32 error) {
    struct answer a = {error, (u32)boss.pid, boss.generation, boss.last,
                       boss.pid ? RUNNING : STOPPED};
    boss.pending = 0;
    if (boss.client < 0) return;
    write(boss.client, &a, sizeof a);
    close(boss.client);
    boss.client = -1;
}

/* End whatever the last child has left running: it may still hold its port. All of it is below this
   process, in whatever group or session it has put itself, since orphans are adopted; and when one
   is ended, what it had started is adopted in turn. */
static void end_the_rest(void) {
    u8 entries[4096] __attribute__((aligned(8)));
    u64 ended = 1UL << (SIGCHLD - 1);
    struct timespec soon = {0, 10000000};
    i64 deadline = now_ms() + 5000; /* one that hangs in the kernel is not waited for longer */
    u32 self = (u32)getpid();
    while (wait4(-1, 0, WNOHANG) >= 0 && now_ms() < deadline) {
        long fd = openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), n;
        if (fd < 0) return;
        while ((n = getdents64(fd, entries, sizeof entries)) > 0) {
            for (long at = 0; at < n;) {
                struct dirent64 *d = (struct dirent64 *)(entries + at);
                struct proc p;
                u32 pid = proc_number(d->name);
                at += d->reclen;
                /* A child that has not been waited for keeps its number: no other can be hit. */
                if (pid && proc_read(pid, &p) == 0 && p.parent == self) kill(pid, SIGKILL);
            }
        }
        close(fd);
        if (wait4(-1, 0, WNOHANG) == 0) rt_sigtimedwait(&ended, &soon);
    }
}

static long boss_start(void) {
    static const int as_they_are[3] = {-1, -1, -1};
    end_the_rest();
    long pid = start(boss.argv, environment, -1, as_they_are, 1);
    if (pid > 0) {
        boss.pid = pid;
        boss.generation++;
    }
    return pid;
}

/* Nothing runs any more: start the next, or see to it that it stays so. */
static void answer_next(u8 what) {
    long pid = 0;
    if (what == ASK_RESTART) pid = boss_start();
    else end_the_rest();
    answer(pid < 0 ? (u32)-pid : 0);
}

static void child_ended(i32 status) {
    long group = boss.pid;
    boss.last = exit_code(status);
    boss.pid = 0;
    if (boss.ending || (!boss.pending && !boss.hold)) leave(boss.last);
    if (!boss.pending) return;
    kill(-group, SIGKILL);
    answer_next(boss.pending);
}

static void reap(void) {
    i32 status;
    long pid;
    while ((pid = wait4(-1, &status, WNOHANG)) > 0)
        if (pid == boss.pid) child_ended(status);
}

static void signalled(u32 signal) {
    if (signal == SIGCHLD) {
        reap();
        return;
    }
    if (signal == SIGPIPE) return; /* of a client that left */
    if (signal == SIGTERM || signal == SIGINT || signal == SIGQUIT) {
        boss.ending = signal == SIGTERM ? 2 : 1;
        if (!boss.pid) leave(boss.last);
    }
    if (boss.pid) kill(boss.pid, signal);
}

static void asked(void) {
    struct ask a;
    long n = read(boss.client, &a, sizeof a);
    if (n == -EAGAIN || n == -EINTR) return;
    if (n != sizeof a || a.version != 1 || a.zero || a.signal > 64) {
        answer(EINVAL);
        return;
    }
    switch (a.what) {
    case ASK_STATUS:
        answer(0);
        break;
    case ASK_SIGNAL: {
        long error = boss.pid && a.signal ? kill(boss.pid, a.signal) : -EINVAL;
        answer((u32)-error);
        break;
    }
    case ASK_RESTART:
    case ASK_STOP:
        if (!boss.pid) {
            answer_next(a.what);
            break;
        }
        if (boss.ending == 1) boss.ending = 0; /* the child took that for something else */
        boss.pending = a.what;
        boss.killed = 0;
        boss.deadline = now_ms() + a.grace_ms;
        kill(-boss.pid, a.signal ? a.signal : SIGTERM);
        break;
    default:
        answer(EINVAL);
    }
}

/* An address that is short however long the folder's path is. */
static void control_address(struct sockaddr_un *address, int folder) {
    memset(address, 0, sizeof *address);
    address->family = AF_UNIX;
    char *at = append_number(append(address->path, "/proc/self/fd/"), folder);
    append(at, "/agent.sock");
}

static void control_open(const char *folder) {
    struct sockaddr_un address;
    long fd = openat(AT_FDCWD, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    long error = fd;
    if (fd >= 0) {
        control_address(&address, (int)fd);
        unlinkat(fd, "agent.sock", 0);
        boss.listener = (int)socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | O_NONBLOCK, 0);
        u32 before = (u32)umask(0177);
        error = boss.listener < 0 ? boss.listener : bind(boss.listener, &address, sizeof address);
        umask(before);
        if (!error) error = listen(boss.listener, 8);
        close(fd);
    }
    if (error < 0) {
        complain("the control socket cannot be made in", folder, -error);
        leave(2);
    }
}

/* Process 1 gets the orphans of everybody, of `kubectl exec` too. So that what the program leaves can
   be told from those, process 1 only hands signals on, reaps, and ends as the supervisor ends; the
   supervisor, which returns from here, adopts the program's own. */
static void become_second(const u64 *all) {
    u8 info[128] __attribute__((aligned(8)));
    long second = getpid() == 1 ? fork() : 0;
    if (second < 0) {
        complain("cannot fork", 0, -second);
        leave(126);
    }
    if (second == 0) return;
    int signals = (int)signalfd4(-1, all, O_CLOEXEC);
    for (;;) {
        if (read(signals, info, sizeof info) != sizeof info) continue;
        u32 signal = *(u32 *)info;
        if (signal != SIGCHLD && signal != SIGPIPE) kill(second, signal);
        i32 status;
        long pid;
        while ((pid = wait4(-1, &status, WNOHANG)) > 0)
            if (pid == second) leave(exit_code(status));
    }
}

static __attribute__((noreturn)) void supervise(char **argv, const char *folder, int hold) {
    u64 all = ~0UL;
    u8 info[128] __attribute__((aligned(8)));
    boss.argv = argv;
    boss.hold = (u8)hold;
    boss.listener = boss.client = -1;
    rt_sigprocmask(SIG_SETMASK, &all, &first_mask);
    become_second(&all);
    first_umask = (u32)umask(0);
    umask(first_umask);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int signals = (int)signalfd4(-1, &all, O_CLOEXEC | O_NONBLOCK);
    if (folder) {
        static char path[PATH_MOST + 16];
        control_open(folder);
        /* The kernel takes no longer path, so that the folder was not opened with one. */
        if (length(folder) <= PATH_MOST) {
            append(append(path, folder), "/program");
            stand_in = path;
        }
    }
    long pid = boss_start();
    if (pid < 0) {
        struct stat st;
        int brought = hold && stand_in && fstatat(AT_FDCWD, stand_in, &st) == 0;
        complain("cannot run", brought ? stand_in : argv[0], -pid);
        boss.last = pid == -ENOENT ? 127 : 126;
        /* A new container would find the same: what is brought next mends it. */
        if (!brought) leave(boss.last);
    }
    for (;;) {
        struct pollfd fds[2] = {
            {signals, POLLIN, 0},
            /* One client at a time; the next waits in the listener's queue. A client that has asked
               for a restart is not looked at before it has its answer. */
            {boss.pending ? -1 : boss.client >= 0 ? boss.client : boss.listener, POLLIN, 0},
        };
        struct timespec wait, *until = 0;
        if (boss.client >= 0 && !(boss.pending && boss.killed)) {
            i64 left = boss.deadline - now_ms();
            if (left < 0) left = 0;
            wait.sec = left / 1000;
            wait.nsec = left % 1000 * 1000000;
            until = &wait;
        }
        long ready = ppoll(fds, 2, until);
        while (read(signals, info, sizeof info) == sizeof info) signalled(*(u32 *)info);
        if (ready > 0 && fds[1].revents) {
            if (boss.client >= 0) {
                asked();
            } else {
                boss.client = (int)accept4(boss.listener, SOCK_CLOEXEC | O_NONBLOCK);
                boss.killed = 0;
                boss.deadline = now_ms() + 2000; /* one that says nothing is not waited for */
            }
        } else if (boss.client >= 0 && now_ms() >= boss.deadline) {
            if (!boss.pending) {
                answer(ETIMEDOUT);
            } else if (!boss.killed) {
                boss.killed = 1;
                kill(-boss.pid, SIGKILL);
            }
        }
    }
}

#endif
