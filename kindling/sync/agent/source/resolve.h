/* Where a path leads when its links are followed, and the first bytes of a file. Both only tell:
   whatever changes a tree takes paths without links. */
#ifndef RESOLVE_H
#define RESOLVE_H
#include "paths.h"

enum { LINKS_MOST = 40, READ_MOST = 128 << 10, TARGET = 1 };

static u32 without_last(const char *p, u32 n) {
    while (n && p[n - 1] != '/') n--;
    return n ? n - 1 : 0;
}

/* The path with every link followed as far as it exists, in `found`, ended by NUL; its length or an
   error. ROOT is what `/` is in a container: absolute targets begin there, `..` does not leave it. */
static long resolve(struct text path, char found[PATH_MOST + 1]) {
    static char rest[2 * PATH_MOST + 2], target[PATH_MOST + 1];
    u32 n = 0, at = 0, end = path.n, links = 0;
    found[0] = 0;
    if (path.n > PATH_MOST) return -ENAMETOOLONG;
    for (u32 i = 0; i < path.n; i++)
        if (!path.p[i]) return -EINVAL;
    memcpy(rest, path.p, path.n);
    while (at < end) {
        u32 size = 0, before = n;
        while (at + size < end && rest[at + size] != '/') size++;
        const char *name = rest + at;
        at += size + 1;
        if (size == 0 || (size == 1 && name[0] == '.')) continue;
        if (size == 2 && name[0] == '.' && name[1] == '.') {
            found[n = without_last(found, n)] = 0;
            continue;
        }
        if (n + 1 + size > PATH_MOST) return -ENAMETOOLONG;
        if (n) found[n++] = '/';
        memcpy(found + n, name, size);
        found[n += size] = 0;
        struct stat st;
        if (fstatat(root_fd, found, &st) != 0 || (st.mode & S_IFMT) != S_IFLNK) continue;
        long told = readlinkat(root_fd, found, target, PATH_MOST);
        if (told <= 0) continue;
        if (++links > LINKS_MOST) return -ELOOP;
        u32 left = at < end ? end - at : 0;
        if ((u32)told + 1 + left > sizeof rest) return -ENAMETOOLONG;
        memmove(rest + told + 1, rest + at, left);
        memcpy(rest, target, (u32)told);
        rest[told] = '/';
        at = 0;
        end = (u32)told + 1 + left;
        n = target[0] == '/' ? 0 : before;
        found[n] = 0;
    }
    return n;
}

static void resolve_request(struct frame *f) {
    static char found[PATH_MOST + 1];
    struct text path = take_text(f);
    take_end(f);
    long n = resolve(path, found);
    if (n < 0) {
        reply_error(f->id, n, path.p, path.n, "the path leads nowhere");
        return;
    }
    reply(TEXT, f->id, (u32)n);
    put_bytes(found, (u32)n);
    reply_end();
}

/* An absolute path is the machine's own and the kernel follows its links; any other is below ROOT
   and resolved as above. */
static long read_path(struct text path, char place[PATH_MOST + 1], int of_link) {
    if (path.n > PATH_MOST) return -ENAMETOOLONG;
    u32 split = of_link ? parent_size(path) : path.n;
    if (path.n && path.p[0] == '/') {
        memcpy(place, path.p, path.n);
        place[path.n] = 0;
        return length(place) == path.n ? 0 : -EINVAL;
    }
    long n = resolve((struct text){path.p, split}, place);
    if (n < 0 || !of_link) return n;
    u32 from = split ? split + 1 : 0, size = path.n - from;
    if ((u32)n + 1 + size > PATH_MOST) return -ENAMETOOLONG;
    if (n) place[n++] = '/';
    memcpy(place + n, path.p + from, size);
    place[n + size] = 0;
    return length(place) == n + size ? 0 : -EINVAL;
}

static void read_request(struct frame *f) {
    static char place[PATH_MOST + 1];
    struct text path = take_text(f);
    u64 from = take_u64(f);
    u32 most = take_u32(f), held = 0;
    take_end(f);
    if (most > READ_MOST) most = READ_MOST;
    int of_link = f->flags & TARGET, absolute = path.n && path.p[0] == '/';
    long error = read_path(path, place, of_link), fd = -1;
    reply(TEXT, f->id, READ_MOST);
    if (error >= 0 && of_link) {
        error = readlinkat(absolute ? AT_FDCWD : root_fd, place, out + out_used, PATH_MOST);
        if (error >= 0) held = (u32)error < most ? (u32)error : most;
    } else if (error >= 0) {
        struct stat st;
        const char *where = place[0] ? place : ".";
        int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | (absolute ? 0 : O_NOFOLLOW);
        error = fd = openat(absolute ? AT_FDCWD : root_fd, where, flags, 0);
        if (error >= 0) error = fstat(fd, &st);
        if (error >= 0 && (st.mode & S_IFMT) == S_IFDIR) error = -EISDIR;
        else if (error >= 0 && (st.mode & S_IFMT) != S_IFREG) error = -EINVAL;
        while (error >= 0 && held < most) {
            error = pread(fd, out + out_used + held, most - held, from + held);
            if (error == 0) break;
            if (error == -EINTR) error = 0;
            held += error > 0 ? (u32)error : 0;
        }
        if (fd >= 0) close(fd);
    }
    if (error < 0) {
        out_used = frame_at; /* not this reply, but an error */
        reply_error(f->id, error, path.p, path.n, "the file cannot be read");
        return;
    }
    out_used += held;
    reply_end();
}

#endif
