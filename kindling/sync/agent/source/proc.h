/* What /proc tells of a process. */
#ifndef PROC_H
#define PROC_H
#include "base.h"

struct proc {
    u32 pid, parent, group, session;
    char state;
    u64 started;     /* clock ticks since the machine's boot */
    u64 image[6];    /* where code, stack and data begin: other numbers after each execve */
};

/* The n-th file of a process, such as `/proc/7/stat`. */
static void proc_path(char path[40], u32 pid, const char *name) {
    char *at = append_number(append(path, "/proc/"), pid);
    append(append(at, "/"), name);
}

/* 0, or the error when there is no such process or it says nothing that can be read. */
static long proc_read(u32 pid, struct proc *p) {
    static const u8 of_image[6] = {26, 27, 28, 45, 46, 47};
    char path[40], text[1024];
    proc_path(path, pid, "stat");
    long fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    long n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0) return n;
    memset(p, 0, sizeof *p);
    p->pid = pid;
    /* The name stands in brackets and may hold any, so the last one ends it. */
    long at = n;
    while (at && text[at - 1] != ')') at--;
    if (!at || at + 2 >= n) return -EIO;
    p->state = text[at + 1];
    at += 2;
    for (u32 field = 4; at < n && field <= 52; field++) {
        u64 value = 0;
        while (at < n && (text[at] == ' ' || text[at] == '-')) at++;
        while (at < n && text[at] >= '0' && text[at] <= '9')
            value = value * 10 + (u64)(text[at++] - '0');
        if (field == 4) p->parent = (u32)value;
        if (field == 5) p->group = (u32)value;
        if (field == 6) p->session = (u32)value;
        if (field == 22) p->started = value;
        for (u32 i = 0; i < 6; i++)
            if (field == of_image[i]) p->image[i] = value;
    }
    return 0;
}

static int proc_gone(struct proc *p) { return p->state == 'Z' || p->state == 'X'; }

/* The process number that a name in /proc is, or 0. */
static u32 proc_number(const char *name) {
    u32 pid = 0;
    for (; *name >= '0' && *name <= '9'; name++) pid = pid * 10 + (u32)(*name - '0');
    return *name ? 0 : pid;
}

#endif
