/* `seed`: copy folders of the image into the empty volumes that will lie over them. */
#ifndef SEED_H
#define SEED_H
#include "batch.h"

enum { SEEDS_MOST = 256 };

static struct {
    u32 n;
    struct { u64 dev, ino; } into[SEEDS_MOST]; /* never copied: they would hold themselves */
    u32 left_out;
    char path[PATH_MOST + 1 + NAME_MOST + 1];
    u32 path_n;
} seeding;

/* Something is not copied; the rest is. What the program could not have read it will not miss. */
static void seed_skips(const char *why, long error) {
    seeding.left_out++;
    complain(why, seeding.path, error < 0 ? -error : error);
}

/* A full disk, and what is like it, ends it: a folder with a hole must not be served as whole. */
static __attribute__((noreturn)) void seed_fails(const char *why, long error) {
    complain(why, seeding.path, error < 0 ? -error : error);
    leave(1);
}

static int seeds_into(struct stat *st) {
    for (u32 i = 0; i < seeding.n; i++)
        if (seeding.into[i].dev == st->dev && seeding.into[i].ino == st->ino) return 1;
    return 0;
}

/* Owner, mode and time as they were, as far as this user may set them. */
static void seed_state(int fd, struct stat *st) {
    u32 mode = st->mode & 07777;
    struct timespec times[2] = {{st->mtime, st->mtime_ns}, {st->mtime, st->mtime_ns}};
    /* Another owner's rights are not for this one's programs. */
    if (fchown(fd, st->uid, st->gid) != 0) mode &= 01777;
    fchmod(fd, mode);
    utimensat(fd, 0, times, 0);
}

static void seed_file(int from, int to, const char *name) {
    struct stat st;
    long in_fd = open_to_read(from, name);
    if (in_fd < 0) {
        seed_skips("not copied, since it cannot be read:", in_fd);
        return;
    }
    unlinkat(to, name, 0); /* of a container that was started before */
    long fd = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) seed_fails("cannot be made in the volume:", fd);
    for (;;) {
        long n = read(in_fd, space, sizeof space);
        if (n == -EINTR) continue;
        if (n < 0) {
            unlinkat(to, name, 0);
            seed_skips("not copied, since it cannot be read:", n);
            break;
        }
        if (n == 0) break;
        for (long at = 0; at < n;) {
            long done = write(fd, space + at, n - at);
            if (done == -EINTR) continue;
            if (done <= 0) seed_fails("cannot be written to the volume:", done ? done : EIO);
            at += done;
        }
    }
    if (fstat(in_fd, &st) == 0) seed_state((int)fd, &st);
    close(in_fd);
    close(fd);
}

static void seed_link(int from, int to, const char *name, struct stat *st) {
    static char target[PATH_MOST + 1];
    long n = readlinkat(from, name, target, PATH_MOST);
    if (n < 0) {
        seed_skips("not copied, since it cannot be read:", n);
        return;
    }
    target[n] = 0;
    unlinkat(to, name, 0);
    long error = symlinkat(target, to, name);
    if (error) seed_fails("cannot be made in the volume:", error);
    fchownat(to, name, st->uid, st->gid);
}

static void seed_folder(int from, int to, int depth);

static void seed_member(int from, int to, const char *name, u64 dev, int depth) {
    struct stat st;
    long error = fstatat(from, name, &st);
    if (error) {
        seed_skips("not copied, since it cannot be looked at:", error);
        return;
    }
    u32 kind = st.mode & S_IFMT;
    if (kind == S_IFREG) seed_file(from, to, name);
    else if (kind == S_IFLNK) seed_link(from, to, name, &st);
    else if (kind != S_IFDIR) seed_skips("not copied, since it is no file, folder or link:", 0);
    if (kind != S_IFDIR || seeds_into(&st)) return;
    error = mkdirat(to, name, 0700);
    if (error && error != -EEXIST) seed_fails("cannot be made in the volume:", error);
    long out_fd = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (out_fd < 0) seed_fails("cannot be opened in the volume:", out_fd);
    fchmod(out_fd, 0700); /* a container that was started before may have closed it */
    /* What is mounted there now is mounted over the copy too: its folder is enough. */
    if (st.dev == dev) {
        long inner = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (inner < 0) seed_skips("not copied, since it cannot be read:", inner);
        else if (depth >= DEPTH_MOST) seed_skips("not copied, since it is too deep:", ENAMETOOLONG);
        else seed_folder((int)inner, (int)out_fd, depth + 1);
        if (inner >= 0) close(inner);
    }
    seed_state((int)out_fd, &st);
    close(out_fd);
}

static void seed_folder(int from, int to, int depth) {
    u8 entries[4096] __attribute__((aligned(8)));
    u32 here = seeding.path_n;
    struct stat st;
    long n = fstat(from, &st);
    while (n >= 0 && (n = getdents64(from, entries, sizeof entries)) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *d = (struct dirent64 *)(entries + at);
            u32 size = length(d->name);
            at += d->reclen;
            if ((size == 1 && d->name[0] == '.') || (size == 2 && same(d->name, ".."))) continue;
            if (here + 1 + size <= PATH_MOST) {
                append(append(seeding.path + here, "/"), d->name);
                seeding.path_n = here + 1 + size;
                seed_member(from, to, d->name, st.dev, depth);
            } else {
                seed_skips("has members with too long paths:", ENAMETOOLONG);
            }
            seeding.path[here] = 0;
            seeding.path_n = here;
        }
    }
    if (n < 0) seed_skips("not copied whole, since it cannot be read:", n);
}

/* Pairs of words: a folder, and the folder that gets a copy of all in it. */
static __attribute__((noreturn)) void seed(char **pairs, u64 n) {
    umask(0);
    for (u64 i = 1; i < n && seeding.n < SEEDS_MOST; i += 2) {
        struct stat st;
        long fd = openat(AT_FDCWD, pairs[i], O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0 || fstat(fd, &st) != 0) {
            complain("the folder to copy into cannot be opened", pairs[i], -fd);
            leave(1);
        }
        close(fd);
        seeding.into[seeding.n].dev = st.dev;
        seeding.into[seeding.n++].ino = st.ino;
    }
    for (u64 i = 0; i + 1 < n; i += 2) {
        struct stat st;
        u32 size = length(pairs[i]);
        long from = openat(AT_FDCWD, pairs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (from == -ENOENT) continue; /* the image has nothing there: an empty folder is right */
        if (size > PATH_MOST) from = -ENAMETOOLONG;
        while (size > 1 && pairs[i][size - 1] == '/') size--;
        memcpy(seeding.path, pairs[i], size <= PATH_MOST ? size : 0);
        seeding.path_n = size <= PATH_MOST ? size : 0;
        seeding.path[seeding.path_n] = 0;
        if (from < 0) seed_fails("cannot be copied:", from);
        long to = openat(AT_FDCWD, pairs[i + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (to < 0) seed_fails("has no folder to be copied into:", to);
        if (same(seeding.path, "/")) seeding.path_n = 0;
        seed_folder((int)from, (int)to, 0);
        if (fstat(from, &st) == 0) seed_state((int)to, &st);
        close(from);
        close(to);
    }
    leave(0);
}

#endif
