/* Requests about processes: signal one, run one, read a command line, ask the supervisor. */
#ifndef RUN_H
#define RUN_H
#include "processes.h"
#include "supervise.h"

enum { WORDS_MOST = 4096 };

static struct { u32 id; long pid; int fds[2]; } running = {0, 0, {-1, -1}};
static const char *control_folder;

static void signal_request(struct frame *f) {
    i32 pid = (i32)take_u32(f);
    u32 signal = take_u32(f);
    take_end(f);
    /* 0 is the agent's own group and -1 everybody: neither can be meant. */
    long error = pid == 0 || pid == -1 || signal > 64 ? -EINVAL : kill((long)pid, signal);
    if (error) reply_error(f->id, error, "", 0, "the signal cannot be sent");
    else reply_ok(f->id);
}

/* `n` texts of a frame as a list for execve, ended by NUL. */
static u32 take_words(struct frame *f, char **words, u32 n, int *bad) {
    if (n > WORDS_MOST - 1) protocol_error("a command has too many words", 0);
    for (u32 i = 0; i < n; i++) {
        u32 size = take_u32(f);
        /* One byte to the left, over its own length, which has been read: room for the end. */
        char *from = (char *)take(f, size), *word = from - 1;
        memmove(word, from, size);
        word[size] = 0;
        if (length(word) != size) *bad = 1;
        words[i] = word;
    }
    words[n] = 0;
    return n;
}

static void run_request(struct frame *f) {
    static char *argv[WORDS_MOST], *env[WORDS_MOST];
    struct text cwd = take_text(f);
    int bad = 0;
    u32 argc = take_words(f, argv, take_u32(f), &bad);
    u32 given = take_words(f, env, take_u32(f), &bad), added = given;
    take_end(f);
    /* The given variables come first and hide those of the same name. */
    for (char **old = environment; *old && added < WORDS_MOST - 1; old++) {
        u32 n = 0, hidden = 0;
        while ((*old)[n] && (*old)[n] != '=') n++;
        for (u32 i = 0; i < given && !hidden; i++)
            hidden = length(env[i]) > n && memcmp(env[i], *old, n) == 0 && env[i][n] == '=';
        if (!hidden) env[added++] = *old;
    }
    env[added] = 0;
    if (bad || argc == 0) {
        reply_error(f->id, EINVAL, "", 0, "not a command");
        return;
    }
    if (running.pid) {
        reply_error(f->id, EBUSY, argv[0], length(argv[0]), "another command runs");
        return;
    }
    if (cwd.n && (bad = bad_path(cwd))) {
        reply_error(f->id, bad, cwd.p, cwd.n, "not a path of a tree");
        return;
    }
    int folder = open_folder(cwd.p, cwd.n);
    if (folder < 0) {
        reply_error(f->id, folder, cwd.p, cwd.n, "the folder cannot be opened");
        return;
    }
    int one[2] = {-1, -1}, two[2] = {-1, -1};
    long nothing = openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
    long pid = nothing;
    if (nothing >= 0) pid = pipe2(one, O_CLOEXEC);
    if (pid >= 0) pid = pipe2(two, O_CLOEXEC);
    if (pid >= 0) {
        int fds[3] = {(int)nothing, one[1], two[1]};
        pid = start(argv, env, folder, fds, 0);
    }
    close_folder(folder);
    if (nothing >= 0) close(nothing);
    if (one[1] >= 0) close(one[1]);
    if (two[1] >= 0) close(two[1]);
    if (pid < 0) {
        if (one[0] >= 0) close(one[0]);
        if (two[0] >= 0) close(two[0]);
        reply_error(f->id, pid, argv[0], length(argv[0]), "the command cannot be run");
        return;
    }
    running.id = f->id;
    running.pid = pid;
    running.fds[0] = one[0];
    running.fds[1] = two[0];
    reply(STARTED, f->id, 4);
    put_u32((u32)pid);
    reply_end();
}

/* Hand on what the command wrote to stream 1 or 2. False at its end. */
static int run_output(int stream) {
    int *fd = &running.fds[stream - 1];
    long n = read(*fd, space, 32 << 10);
    if (n == -EINTR || n == -EAGAIN) return 1;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return 0;
    }
    reply(OUTPUT, running.id, (u32)n + 1);
    put_u8((u8)stream);
    put_bytes(space, (u32)n);
    reply_end();
    return 1;
}

static void run_reap(void) {
    i32 status;
    if (!running.pid || wait4(running.pid, &status, WNOHANG) != running.pid) return;
    for (int stream = 1; stream <= 2; stream++) {
        struct pollfd p = {running.fds[stream - 1], POLLIN, 0};
        struct timespec now = {0, 0};
        /* What it wrote is all in the pipe by now. Others may hold the pipe and write for ever. */
        for (int i = 0; i < 64 && p.fd >= 0 && ppoll(&p, 1, &now) > 0; i++)
            if (!run_output(stream)) break;
        if (running.fds[stream - 1] >= 0) close(running.fds[stream - 1]);
        running.fds[stream - 1] = -1;
    }
    reply(EXITED, running.id, 4);
    put_u32((u32)exit_code(status));
    reply_end();
    running.pid = 0;
}

static void cmdline_request(struct frame *f) {
    char path[64] = "/proc/";
    u32 pid = take_u32(f), held = 0;
    take_end(f);
    append(append_number(path + 6, pid), "/cmdline");
    long n = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), fd = n;
    while (fd >= 0 && held < sizeof space && (n = read(fd, space + held, sizeof space - held)) > 0)
        held += (u32)n;
    if (fd >= 0) close(fd);
    if (n < 0) {
        reply_error(f->id, n, path, length(path), "the command line cannot be read");
        return;
    }
    reply(TEXT, f->id, held);
    put_bytes(space, held);
    reply_end();
}

static void control_request(struct frame *f) {
    struct ask a = {1, take_u8(f), 0, 0, 0};
    struct answer got;
    struct sockaddr_un address;
    a.signal = take_u8(f);
    a.grace_ms = take_u32(f);
    take_end(f);
    const char *folder = control_folder ? control_folder : "";
    long fd = -1, error = -ENOENT;
    long dir = control_folder ? openat(AT_FDCWD, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : error;
    if (dir >= 0) {
        control_address(&address, (int)dir);
        error = fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd >= 0) error = connect(fd, &address, sizeof address);
        close(dir);
    } else {
        error = dir;
    }
    if (error >= 0) error = write(fd, &a, sizeof a);
    if (error >= 0) {
        flush();
        struct pollfd p = {(i32)fd, POLLIN, 0};
        struct timespec wait = {a.grace_ms / 1000 + 10, 0};
        error = ppoll(&p, 1, &wait);
        if (error == 0) error = -ETIMEDOUT;
        if (error > 0) error = read(fd, &got, sizeof got);
        if (error >= 0 && error != sizeof got) error = -EIO;
    }
    if (fd >= 0) close(fd);
    if (error >= 0 && got.error) error = -(long)got.error;
    if (error < 0) {
        reply_error(f->id, error, folder, length(folder), "the supervisor did not do it");
        return;
    }
    reply(STATUS, f->id, 16);
    put_u32(got.pid);
    put_u32(got.generation);
    put_u32((u32)got.last);
    put_u32(got.state);
    reply_end();
}

#endif
