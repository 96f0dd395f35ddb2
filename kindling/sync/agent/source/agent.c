/* kindling-agent: serves a tree over standard input and output, or supervises a program.
   Freestanding C: no library, Linux system calls only. Built by kindling/sync/agent/binary.py. */
#include "resolve.h"
#include "run.h"
#include "seed.h"

static int greeted, alone;
static char **subtrees; /* where to look for what a killed agent left; none: all of ROOT */

/* Remove what a killed agent left in the folder of a path; with `below`, in all below it too. */
static void clean_folder(const char *p, u32 n, int below, u32 *cleaned) {
    int folder = open_folder(p, n);
    if (folder < 0) return;
    long fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd >= 0) sweep((int)fd, below ? 0 : DEPTH_MOST, 1, cleaned);
    close_folder(folder);
}

/* Contents may have been staged in any folder above a path, where its own was not there yet. */
static void clean(u32 *cleaned) {
    static char found[PATH_MOST + 1];
    struct stat ours, top;
    int of_machine = fstat(root_fd, &ours) == 0 && fstatat(AT_FDCWD, "/", &top) == 0 &&
                     ours.dev == top.dev && ours.ino == top.ino;
    if (!*subtrees) clean_folder("", 0, !of_machine, cleaned);
    for (char **one = subtrees; *one; one++) {
        long n = resolve((struct text){*one, length(*one)}, found);
        for (u32 at = 0; n > 0 && at < n; at++)
            if (!at || found[at] == '/') clean_folder(found, at, 0, cleaned);
        if (n >= 0) clean_folder(found, (u32)n, n || !of_machine, cleaned);
    }
}

static void hello(struct frame *f) {
    u32 cleaned = 0;
    if (take_u32(f) != MAGIC) protocol_error("the first frame is no greeting of kindling", 0);
    take(f, 2); /* the client's version: it decides whether it can live with ours */
    take_end(f);
    if (greeted) protocol_error("a second greeting came", 0);
    greeted = 1;
    /* What an agent that was killed left behind goes now, unless another one is at work here. */
    alone = flock(root_fd, LOCK_EX | LOCK_NB) == 0;
    if (alone) clean(&cleaned);
    flock(root_fd, LOCK_SH);
    reply(WELCOME, f->id, 28);
    put_u32(MAGIC);
    put_u16(VERSION);
    put_u8(ARCH_ID);
    put_u8((u8)alone);
    put_u32(CAN_INFLATE | (control_folder ? CAN_CONTROL : 0) | (sha_fast ? HASHES_FAST : 0));
    put_u32(BODY_MOST);
    put_u32((u32)getpid());
    put_u32((u32)getuid());
    put_u32(cleaned);
    reply_end();
}

static void handle(struct frame *f) {
    if (f->type != HELLO && !greeted) protocol_error("a request came before the greeting", 0);
    int may = f->type == DELETE || f->type == RMTREE || f->type == MKDIR || f->type == COMMIT ||
              f->type == RMDIR || f->type == READ;
    if (f->flags & ~((may ? OWN_FLAG : 0) | (f->type == DATA ? DEFLATED : 0))) protocol_error("a frame has flags that this agent does not know", 0);
    switch (f->type) {
    case HELLO: hello(f); break;
    case PING:
        if (f->size > 4096) protocol_error("a ping is longer than allowed", 0);
        reply(PONG, f->id, f->size);
        put_bytes(f->body, f->size);
        reply_end();
        break;
    case PUT: put_begin(f); break;
    case DATA:
    case COPY: put_part(f); break;
    case PUT_END: put_end(f); break;
    case DELETE:
    case RENAME:
    case MKDIR:
    case RMTREE:
    case SYMLINK:
    case CHMOD:
    case RMDIR: batch_note(f); break;
    case COMMIT: batch_commit(f); break;
    case ABORT:
        take_end(f);
        drop_batch();
        reply_ok(f->id);
        break;
    case TREE: tree_request(f); break;
    case SUMS: sums_request(f); break;
    case SIGNAL: signal_request(f); break;
    case RUN: run_request(f); break;
    case CONTROL: control_request(f); break;
    case CMDLINE: cmdline_request(f); break;
    case RESOLVE: resolve_request(f); break;
    case READ: read_request(f); break;
    case PROCESSES: processes_request(f); break;
    default: protocol_error("a frame has a type that this agent does not know", 0);
    }
}

static __attribute__((noreturn)) void serve(void) {
    /* A reader that left and a file that may grow no further are errors of a write, not the end. */
    u64 ours = 1UL << (SIGCHLD - 1) | 1UL << (SIGPIPE - 1) | 1UL << (SIGXFSZ - 1);
    u8 info[128];
    rt_sigprocmask(SIG_BLOCK, &ours, &first_mask);
    ours = 1UL << (SIGCHLD - 1);
    int signals = (int)signalfd4(-1, &ours, O_CLOEXEC | O_NONBLOCK);
    first_umask = (u32)umask(0);
    if (getrandom(&nonce, 8) != 8) nonce = (u64)now_ms() << 20 ^ (u64)getpid();
    for (;;) {
        struct frame f;
        while (have_frame(&f)) handle(&f);
        flush();
        forget_folders();
        struct pollfd fds[4] = {{0, POLLIN, 0},
                                {signals, POLLIN, 0},
                                {running.pid ? running.fds[0] : -1, POLLIN, 0},
                                {running.pid ? running.fds[1] : -1, POLLIN, 0}};
        if (ppoll(fds, 4, 0) < 0) continue;
        if (fds[2].revents) run_output(1);
        if (fds[3].revents) run_output(2);
        if (fds[1].revents) {
            while (read(signals, info, sizeof info) == sizeof info) {}
            run_reap();
        }
        if (fds[0].revents && !fill()) break;
    }
    if (running.pid) kill(-running.pid, SIGKILL);
    if (in_from != in_to) protocol_error("the input ended inside of a frame", 0);
    flush();
    drop_batch();
    leave(0);
}

/* Make the folders of a path that are not there. */
static void make_root(const char *path) {
    static char part[PATH_MOST + 1];
    u32 n = length(path);
    for (u32 i = 1; i <= n && n <= PATH_MOST; i++) {
        if (path[i] && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        mkdirat(AT_FDCWD, part, 0755);
    }
}

static __attribute__((noreturn)) void usage(const char *what, const char *word) {
    complain(what, word, 0);
    complain("usage: serve [--create] [--control FOLDER] ROOT [SUBTREE...]"
             " | supervise [--control FOLDER] [--hold] -- ARGV... | seed SRC DST [SRC DST...] | version", 0, 0);
    leave(2);
}

USED __attribute__((noreturn)) void agent_main(u64 *stack) {
    u64 argc = stack[0];
    char **argv = (char **)(stack + 1);
    int create = 0, hold = 0, portable = 0;
    environment = argv + argc + 1;
    if (argc < 2) usage("a command is missing", 0);
    if (same(argv[1], "version")) {
        static const char text[] = "kindling-agent 1 " ARCH_NAME "\n";
        write(1, text, sizeof text - 1);
        leave(0);
    }
    if (same(argv[1], "seed")) {
        if (argc < 4 || argc % 2 || argc > 2 + 2 * SEEDS_MOST) usage("pairs of folders are needed", 0);
        seed(argv + 2, argc - 2);
    }
    int serves = same(argv[1], "serve");
    if (!serves && !same(argv[1], "supervise")) usage("unknown command", argv[1]);
    u64 at = 2;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (same(argv[at], "--")) {
            at++;
            break;
        }
        if (serves && same(argv[at], "--create")) create = 1;
        else if (serves && same(argv[at], "--portable")) portable = 1;
        else if (!serves && same(argv[at], "--hold")) hold = 1;
        else if (same(argv[at], "--control") && at + 1 < argc) control_folder = argv[++at];
        else usage("unknown option", argv[at]);
    }
    if (!serves) {
        if (at >= argc) usage("the command to supervise is missing", 0);
        supervise(argv + at, control_folder, hold);
    }
    if (at >= argc) usage("a root is needed", 0);
    subtrees = argv + at + 1;
    char **after = environment;
    while (*after) after++;
    sha_fast = !portable && sha_can((const u64 *)(after + 1));
    if (create) make_root(argv[at]);
    long fd = openat(AT_FDCWD, argv[at], O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        complain("the root cannot be opened", argv[at], -fd);
        leave(2);
    }
    root_fd = (int)fd;
    serve();
}

#ifdef HOSTED
/* The words of the command lie behind their number, where the kernel put both. */
int main(int argc, char **argv) {
    (void)argc;
    agent_main((u64 *)argv - 1);
}
#endif
