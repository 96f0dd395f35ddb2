/* Starting a program: as a child in a process group of its own, found by PATH. */
#ifndef CHILD_H
#define CHILD_H
#include "base.h"

static char **environment;
static u64 first_mask; /* the signal mask that the agent was started with */
static u32 first_umask;
static const char *stand_in; /* run in the place of argv[0], where it is there; the supervisor's */

static const char *variable(char **env, const char *name) {
    u32 n = length(name);
    for (; *env; env++)
        if (length(*env) > n && memcmp(*env, name, n) == 0 && (*env)[n] == '=') return *env + n + 1;
    return 0;
}

/* Replace this process. Returns the error when that cannot be. */
static long execute(char **argv, char **env) {
    static char full[8192];
    const char *path = variable(env, "PATH");
    long error = ENOENT;
    struct stat st;
    /* One that is there and cannot be run is an error: the old program must not pass for it. */
    if (stand_in && fstatat(AT_FDCWD, stand_in, &st) == 0) return -execve(stand_in, argv, env);
    for (const char *p = argv[0]; *p; p++)
        if (*p == '/') return -execve(argv[0], argv, env);
    if (!argv[0][0]) return ENOENT;
    if (!path) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    while (1) {
        u32 n = 0, name = length(argv[0]);
        while (path[n] && path[n] != ':') n++;
        if (n + name + 2 <= sizeof full) {
            memcpy(full, path, n);
            if (n) full[n] = '/';
            memcpy(full + n + (n ? 1 : 0), argv[0], name + 1);
            long done = -execve(full, argv, env);
            if (done != ENOENT && done != ENOTDIR) error = done;
            if (error != EACCES && error != ENOENT) return error;
        }
        if (!path[n]) return error;
        path += n + 1;
    }
}

/* Start argv with these descriptors as 0, 1 and 2 (-1 leaves one as it is), in the folder `cwd`
   (-1: here). The process id, or an error below 0 when it cannot be started or replaced. */
static long start(char **argv, char **env, int cwd, const int fds[3], int with_terminal) {
    int told[2];
    long error = pipe2(told, O_CLOEXEC);
    if (error) return error;
    long pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (with_terminal) { /* fails where there is none */
            i32 group = (i32)getpid();
            ioctl(0, TIOCSPGRP, &group);
        }
        error = cwd >= 0 ? fchdir(cwd) : 0;
        for (int i = 0; i < 3 && !error; i++) {
            if (fds[i] < 0) continue;
            long done = dup3(fds[i], i, 0);
            if (done < 0) error = done;
        }
        umask(first_umask);
        rt_sigprocmask(SIG_SETMASK, &first_mask, 0);
        u32 value = (u32)(error ? -error : execute(argv, env));
        write(told[1], &value, 4);
        leave(127);
    }
    close(told[1]);
    if (pid > 0) {
        u32 value;
        long n;
        do n = read(told[0], &value, 4); while (n == -EINTR);
        if (n == 4) {
            wait4(pid, 0, 0);
            pid = -(long)value;
        }
    }
    close(told[0]);
    return pid;
}

/* As a shell says it: the exit code, or 128 and the signal. */
static i32 exit_code(i32 status) {
    return status & 127 ? 128 + (status & 127) : status >> 8 & 255;
}

#endif
