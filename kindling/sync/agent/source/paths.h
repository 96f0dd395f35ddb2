/* Paths below the root: checked, then opened one component after the other, no link followed. */
#ifndef PATHS_H
#define PATHS_H
#include "wire.h"

#define TEMPORARY ".kindling-tmp-"
enum { TEMPORARY_SIZE = sizeof TEMPORARY - 1, NAME_MOST = 255 };

static int root_fd = -1;

static int is_temporary(const char *name, u32 n) {
    return n >= TEMPORARY_SIZE && memcmp(name, TEMPORARY, TEMPORARY_SIZE) == 0;
}

/* 0, or the error of a path that is no path of ours. Any bytes but NUL and slash make a name. */
static int bad_path(struct text path) {
    if (path.n == 0) return EINVAL;
    if (path.n > PATH_MOST) return ENAMETOOLONG;
    for (u32 at = 0; at <= path.n;) {
        u32 end = at;
        while (end < path.n && path.p[end] != '/') {
            if (!path.p[end]) return EINVAL;
            end++;
        }
        u32 n = end - at;
        if (n == 0) return EINVAL; /* absolute, doubled slash, or a slash at the end */
        if (n == 1 && path.p[at] == '.') return EINVAL;
        if (n == 2 && path.p[at] == '.' && path.p[at + 1] == '.') return EINVAL;
        if (n > NAME_MOST) return ENAMETOOLONG;
        if (is_temporary(path.p + at, n)) return EINVAL; /* the agent's own */
        at = end + 1;
    }
    return 0;
}

static u32 parent_size(struct text path) {
    u32 n = path.n;
    while (n && path.p[n - 1] != '/') n--;
    return n ? n - 1 : 0;
}

/* The last component, ended by NUL, in `name`. */
static void last_name(struct text path, char name[NAME_MOST + 1]) {
    u32 from = parent_size(path);
    if (from) from++;
    memcpy(name, path.p + from, path.n - from);
    name[path.n - from] = 0;
}

static void close_folder(int fd) {
    if (fd >= 0 && fd != root_fd) close(fd);
}

/* The folder at the first `n` bytes of `p`. With `reach`, as deep as there are folders, and
   `*reach` says how many bytes of `p` that is. */
static int walk(const char *p, u32 n, u32 *reach) {
    int fd = root_fd;
    char name[NAME_MOST + 1];
    for (u32 at = 0; at < n;) {
        u32 end = at;
        while (end < n && p[end] != '/') end++;
        memcpy(name, p + at, end - at);
        name[end - at] = 0;
        long next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (next < 0) {
            struct stat st;
            if (reach && (next == -ENOENT || next == -ENOTDIR || next == -ELOOP)) {
                *reach = at ? at - 1 : 0;
                return fd;
            }
            if (next == -ENOTDIR && fstatat(fd, name, &st) == 0 && (st.mode & S_IFMT) == S_IFLNK)
                next = -ELOOP;
            close_folder(fd);
            return (int)next;
        }
        close_folder(fd);
        fd = (int)next;
        at = end + 1;
    }
    if (reach) *reach = n;
    return fd;
}

static int open_folder(const char *p, u32 n) { return walk(p, n, 0); }

/* The folder of `path`, and its last component in `name`. */
static int open_parent(struct text path, char name[NAME_MOST + 1]) {
    last_name(path, name);
    return open_folder(path.p, parent_size(path));
}

/* Thousands of files go into one folder after the other: the last one stays open, but never while the
   agent waits, nor beyond a change of any other kind, so that a folder that is another one by then
   is not mistaken for it. */
struct kept { int fd; u32 n, reach, uses; char p[PATH_MOST + 1]; };
static struct kept kept_stage = {.fd = -1}, kept_place = {.fd = -1};
enum { KEPT_USES = 100 };

static void forget(struct kept *kept) {
    close_folder(kept->fd);
    kept->fd = -1;
}

static void forget_folders(void) {
    forget(&kept_stage);
    forget(&kept_place);
}

/* As `walk`, but what comes back stays `kept`'s and is not to be closed. */
static int walk_kept(struct kept *kept, const char *p, u32 n, u32 *reach) {
    int here = kept->fd >= 0 && kept->n == n && kept->uses < KEPT_USES &&
               (reach || kept->reach == n) && memcmp(kept->p, p, n) == 0;
    if (!here) {
        forget(kept);
        kept->fd = walk(p, n, reach);
        kept->reach = reach ? *reach : n;
        kept->n = n;
        kept->uses = 0;
        memcpy(kept->p, p, n);
    }
    kept->uses++;
    if (reach) *reach = kept->reach;
    return kept->fd;
}

/* A file of ours is read with this: no link, no waiting for a pipe's other end. */
static long open_to_read(int folder, const char *name) {
    return openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
}

enum { DEPTH_MOST = 200 };

/* Is this folder the kernel's own (/proc, /sys)? A root of `/` must not lead into it. */
static int of_kernel(int fd) {
    u64 about[32];
    if (fstatfs(fd, about) != 0) return 0;
    return about[0] == 0x9fa0 || about[0] == 0x62656572;
}

/* Remove all members of an open folder; with `temporary`, only what the agent left behind there
   and below, counted in `*removed`. Closes `fd`. */
static long sweep(int fd, int depth, int temporary, u32 *removed) {
    u8 space[4096] __attribute__((aligned(8)));
    long error = 0;
    for (int again = 0; again < 3; again++) {
        u32 before = *removed;
        lseek(fd, 0, 0);
        for (;;) {
            long n = getdents64(fd, space, sizeof space);
            if (n < 0) error = n;
            if (n <= 0) break;
            for (long at = 0; at < n;) {
                struct dirent64 *d = (struct dirent64 *)(space + at);
                at += d->reclen;
                u32 size = length(d->name);
                if ((size == 1 && d->name[0] == '.') || (size == 2 && same(d->name, ".."))) continue;
                int ours = is_temporary(d->name, size);
                if (d->type != 4 && temporary && !ours && d->type != 0) continue;
                long done = temporary && !ours ? -EISDIR : unlinkat(fd, d->name, 0);
                if (done == -EISDIR || done == -EPERM) {
                    long inner = openat(fd, d->name,
                                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
                    if (inner >= 0 && (depth >= DEPTH_MOST || of_kernel((int)inner))) {
                        close(inner);
                        inner = -ENAMETOOLONG;
                    }
                    if (inner < 0) {
                        if (!temporary) error = inner == -ENOTDIR ? done : inner;
                        continue;
                    }
                    long below = sweep((int)inner, depth + 1, temporary, removed);
                    if (temporary) continue;
                    done = unlinkat(fd, d->name, AT_REMOVEDIR);
                    if (done < 0) error = below ? below : done;
                }
                if (done == 0) ++*removed;
                else if (done != -ENOENT && !error) error = done;
            }
        }
        /* Some file systems skip members while others are removed: look again until none is. */
        if (error || *removed == before) break;
    }
    close(fd);
    return error;
}

#endif
