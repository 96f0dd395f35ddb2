/* A batch: contents are staged under temporary names, everything else is noted, and all of it
   becomes visible in the order of the requests at COMMIT. */
#ifndef BATCH_H
#define BATCH_H
#include "paths.h"
#include "inflate.h"
#include "sha256.h"

enum { MISSING_OK = 1, PARENTS = 1, LENIENT = 1, IF_EMPTY = 1 };
#define KEEP_TIME ((i64)(1UL << 63))
#define LATER_MOST 3600 /* a file from farther ahead is of a clock that was wrong */

/* A noted request; `text` holds its path and then its second path, link target or nothing. */
struct step {
    u32 size, id, path_n, other_n, mode, stage_n, serial, before;
    u8 type, flags, failed;
    u8 now; /* a PUT whose file has the time of its writing */
    char text[];
};

static u8 steps[16 << 20] __attribute__((aligned(8)));
static u32 steps_used, batch_failed, serial;
static u32 removals; /* offset + 1 of the last step that takes a name away; they are chained */
static u64 nonce;

/* The file that is being put. */
static struct {
    u8 open, failed;
    u32 id, mode, step;
    int fd, basis;
    i64 mtime;
    u64 size, written;
    struct sha256 sums;
} put;

static u8 space[64 << 10] __attribute__((aligned(8))); /* for copying and hashing */

static struct text path_of(struct step *s) { return (struct text){s->text, s->path_n}; }
static struct text other_of(struct step *s) {
    return (struct text){s->text + s->path_n, s->other_n};
}

static void temporary_name(char *name, u32 number) {
    name = append_hex(append(name, TEMPORARY), nonce, 16);
    name = append(name, "-");
    append_hex(name, number, 8);
}

static void batch_error(u32 id, long error, struct text path, const char *what) {
    batch_failed++;
    reply_error(id, error, path.p, path.n, what);
}

static struct step *note(struct frame *f, struct text path, struct text other) {
    int bad = bad_path(path);
    u32 size = (u32)(sizeof(struct step) + path.n + other.n + 7) & ~7u;
    if (!bad && f->type == RENAME) bad = bad_path(other);
    if (!bad && size > sizeof steps - steps_used) bad = E2BIG;
    if (bad) {
        batch_error(f->id, bad, path, bad == E2BIG ? "the batch is full" : "not a path of a tree");
        return 0;
    }
    struct step *s = (struct step *)(steps + steps_used);
    memset(s, 0, sizeof *s);
    s->size = size;
    s->id = f->id;
    s->type = f->type;
    s->flags = f->flags;
    s->path_n = path.n;
    s->other_n = other.n;
    memcpy(s->text, path.p, path.n);
    memcpy(s->text + path.n, other.p, other.n);
    if (f->type == DELETE || f->type == RENAME || f->type == RMTREE || f->type == RMDIR) {
        s->before = removals;
        removals = steps_used + 1;
    }
    steps_used += size;
    return s;
}

/* How much of the folder path of `path` is not touched by what the batch takes away before. */
static u32 untouched(struct text path) {
    u32 n = parent_size(path);
    for (u32 at = removals; at;) {
        struct step *s = (struct step *)(steps + at - 1);
        for (int which = 0; which < (s->type == RENAME ? 2 : 1); which++) {
            struct text gone = which ? other_of(s) : path_of(s);
            if (gone.n <= n && (gone.n == n || path.p[gone.n] == '/') &&
                memcmp(gone.p, path.p, gone.n) == 0)
                n = parent_size(gone);
        }
        at = s->before;
    }
    return n;
}

/* ---- contents ---- */

static void put_fail(long error, const char *what) {
    struct step *s = (struct step *)(steps + put.step);
    if (put.failed) return;
    put.failed = s->failed = 1;
    batch_error(put.id, error, path_of(s), what);
}

static void put_begin(struct frame *f) {
    struct text path = take_text(f);
    u32 mode = take_u32(f);
    i64 mtime = (i64)take_u64(f);
    u64 size = take_u64(f);
    struct text basis = take_text(f);
    take_end(f);
    if (put.open) protocol_error("a file is put while another is under way", 0);
    put.open = 1;
    put.failed = 0;
    put.id = f->id;
    put.fd = put.basis = -1;
    put.mode = mode & 07777;
    put.mtime = mtime;
    put.size = size;
    put.written = 0;
    sha_begin(&put.sums);
    struct step *s = note(f, path, (struct text){"", 0});
    if (!s) {
        put.failed = 1;
        return;
    }
    put.step = (u32)((u8 *)s - steps);
    s->now = mtime == KEEP_TIME;
    char name[NAME_MOST + 1];
    if (basis.n) {
        int bad = bad_path(basis);
        int folder = bad ? -bad : open_parent(basis, name);
        long fd = folder < 0 ? folder : open_to_read(folder, name);
        struct stat st;
        close_folder(folder);
        put.basis = (int)fd;
        if (fd >= 0 && fstat(fd, &st) == 0 && (st.mode & S_IFMT) != S_IFREG) fd = -EINVAL;
        if (fd < 0) {
            put_fail(fd, "the basis cannot be read");
            return;
        }
    }
    int folder = walk_kept(&kept_stage, s->text, untouched(path_of(s)), &s->stage_n);
    if (folder < 0) {
        put_fail(folder, "the folder cannot be opened");
        return;
    }
    char temporary[64];
    temporary_name(temporary, ++serial);
    long fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        put_fail(fd, "a file cannot be made in the folder");
    } else {
        struct stat st;
        s->serial = serial;
        put.fd = (int)fd;
        last_name(path_of(s), name);
        /* Whoever owns the older file goes on owning it, where the agent may say so. */
        if (s->stage_n == parent_size(path_of(s)) && fstatat(folder, name, &st) == 0 &&
            (st.mode & S_IFMT) == S_IFREG)
            fchown(fd, st.uid, st.gid);
    }
}

static void put_write(const u8 *p, u64 n) {
    if (put.failed) return;
    if (n > put.size - put.written) {
        put_fail(EFBIG, "more bytes came than were announced");
        return;
    }
    sha_add(&put.sums, p, n);
    put.written += n;
    while (n) {
        long done = write(put.fd, p, n);
        if (done == -EINTR) continue;
        if (done <= 0) {
            put_fail(done ? done : EIO, "the file cannot be written");
            return;
        }
        p += done;
        n -= (u64)done;
    }
}

static void put_part(struct frame *f) {
    if (!put.open || f->id != put.id) protocol_error("contents came for no file", 0);
    if (f->type == DATA && f->flags & DEFLATED) {
        static u8 inflated[BODY_MOST];
        long n = put.failed ? 0 : inflate(f->body, f->size, inflated, sizeof inflated);
        if (n < 0) put_fail(EBADMSG, "the contents cannot be inflated");
        else put_write(inflated, (u64)n);
        return;
    }
    if (f->type == DATA) {
        put_write(f->body, f->size);
        return;
    }
    if (f->size % 16) protocol_error("a frame ends inside one of its fields", 0);
    while (f->at < f->size) {
        u64 from = take_u64(f), n = take_u64(f);
        if (!put.failed && put.basis < 0) put_fail(EINVAL, "a copy was asked for without a basis");
        while (n && !put.failed) {
            long got = pread(put.basis, space, n < sizeof space ? n : sizeof space, from);
            if (got == -EINTR) continue;
            if (got <= 0) put_fail(got ? got : EINVAL, "the basis is shorter than the copy");
            else put_write(space, (u64)got);
            if (put.failed) break;
            from += (u64)got;
            n -= (u64)got;
        }
    }
}

/* Remove the contents of a put that will not be made. At once: a later change of the batch may give
   their folder another name. */
static void drop_contents(struct step *s) {
    char temporary[64];
    if (s->type != PUT || !s->serial) return;
    int stage = open_folder(s->text, s->stage_n);
    temporary_name(temporary, s->serial);
    if (stage >= 0) unlinkat(stage, temporary, 0);
    close_folder(stage);
    s->serial = 0;
}

static void put_close(void) {
    if (!put.open) return;
    if (put.fd >= 0) close(put.fd);
    if (put.basis >= 0) close(put.basis);
    put.open = 0;
}

static void put_end(struct frame *f) {
    u8 digest[32], *wanted = take(f, 32);
    take_end(f);
    if (!put.open || f->id != put.id) protocol_error("contents came for no file", 0);
    sha_end(&put.sums, digest);
    if (put.written != put.size) put_fail(EBADMSG, "fewer bytes came than were announced");
    else if (memcmp(digest, wanted, 32)) put_fail(EBADMSG, "the digest differs");
    if (!put.failed) {
        long error = fchmod(put.fd, put.mode);
        if (!error && put.mtime != KEEP_TIME) {
            i64 sec = put.mtime / 1000000000, ns = put.mtime % 1000000000;
            if (ns < 0) sec--, ns += 1000000000;
            struct timespec times[2] = {{sec, ns}, {sec, ns}};
            error = utimensat(put.fd, 0, times, 0);
        }
        if (error) put_fail(error, "mode or time cannot be set");
    }
    if (put.fd >= 0 && put.failed) drop_contents((struct step *)(steps + put.step));
    put_close();
}

/* ---- the rest ---- */

static void batch_note(struct frame *f) {
    struct text path = take_text(f), other = {"", 0};
    u32 mode = 0;
    if (f->type == RENAME || f->type == SYMLINK) other = take_text(f);
    if (f->type == MKDIR || f->type == CHMOD) mode = take_u32(f) & 07777;
    take_end(f);
    if (put.open) protocol_error("a request came inside of a file", 0);
    if (f->type == SYMLINK) {
        int bad = other.n == 0 || other.n > PATH_MOST;
        for (u32 i = 0; i < other.n && !bad; i++) bad = !other.p[i];
        if (bad) {
            batch_error(f->id, EINVAL, path, "not a target of a link");
            return;
        }
    }
    struct step *s = note(f, path, other);
    if (s) s->mode = mode;
}

static long set_mode(int folder, const char *name, u32 mode) {
    struct stat st;
    long error = fstatat(folder, name, &st);
    if (error) return error;
    if ((st.mode & S_IFMT) != S_IFREG && (st.mode & S_IFMT) != S_IFDIR) return -EINVAL;
    long fd = open_to_read(folder, name);
    if (fd >= 0) {
        error = fchmod(fd, mode);
    } else {
        /* Not readable, which an owner may mend: the file itself by its number, never by name. */
        char link[40] = "/proc/self/fd/";
        fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
        if (fd < 0) return fd;
        append_number(link + 14, fd);
        error = fchmodat(AT_FDCWD, link, mode);
    }
    close(fd);
    return error;
}

static long make_folder(int folder, const char *name, u32 mode) {
    struct stat st;
    long error = mkdirat(folder, name, mode);
    if (error == -EEXIST && fstatat(folder, name, &st) == 0 && (st.mode & S_IFMT) == S_IFDIR)
        return (st.mode & 07777) == mode ? 0 : set_mode(folder, name, mode);
    if (!error && mode & 07000) error = set_mode(folder, name, mode);
    return error;
}

static long make_parents(struct text path) {
    for (u32 n = 0; n < path.n; n++) {
        if (path.p[n] != '/') continue;
        char name[NAME_MOST + 1];
        int folder = open_parent((struct text){path.p, n}, name);
        if (folder < 0) return folder;
        long error = mkdirat(folder, name, 0755);
        close_folder(folder);
        if (error && error != -EEXIST) return error;
    }
    return 0;
}

static long remove_tree(int folder, const char *name) {
    u32 removed = 0;
    long fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    long error = sweep((int)fd, 0, 0, &removed);
    long gone = unlinkat(folder, name, AT_REMOVEDIR);
    return gone && error ? error : gone;
}

/* Caches of compiled files (Python's, PHP's) tell versions apart by whole seconds: what replaces a
 * file is never taken for it. That a time cannot be set spoils no save. */
static void make_later(int stage, const char *temporary, int folder, const char *name) {
    struct stat old, new;
    if (fstatat(folder, name, &old) || (old.mode & S_IFMT) != S_IFREG) return;
    if (fstatat(stage, temporary, &new) || old.mtime < new.mtime) return;
    if (old.mtime - new.mtime > LATER_MOST) return;
    struct timespec times[2] = {{new.atime, new.atime_ns}, {old.mtime + 1, new.mtime_ns}};
    utimensat(stage, temporary, times, 0);
}

/* The contents get the name that they are for. */
static long publish(struct step *s) {
    char name[NAME_MOST + 1], temporary[64];
    u32 n = parent_size(path_of(s));
    int folder = walk_kept(&kept_place, s->text, n, 0);
    int stage = folder < 0 || s->stage_n == n ? folder
                                              : walk_kept(&kept_stage, s->text, s->stage_n, 0);
    if (stage < 0) return stage;
    last_name(path_of(s), name);
    temporary_name(temporary, s->serial);
    if (s->now) make_later(stage, temporary, folder, name);
    long error = renameat(stage, temporary, folder, name);
    if (!error) s->serial = 0;
    return error;
}

static long apply(struct step *s) {
    char name[NAME_MOST + 1], other[NAME_MOST + 1], temporary[64], target[PATH_MOST + 1];
    long error = 0;
    if (s->type == PUT) return publish(s);
    forget_folders();
    if (s->type == MKDIR && s->flags & PARENTS) error = make_parents(path_of(s));
    if (error) return error;
    int folder = open_parent(path_of(s), name);
    int removes = s->type == DELETE || s->type == RMTREE || s->type == RMDIR;
    if (folder < 0) return folder == -ENOENT && removes && s->flags & MISSING_OK ? 0 : folder;
    switch (s->type) {
    case DELETE:
    case RMTREE:
        error = s->type == DELETE ? unlinkat(folder, name, 0) : remove_tree(folder, name);
        if (error == -ENOENT && s->flags & MISSING_OK) error = 0;
        break;
    case RMDIR:
        error = unlinkat(folder, name, AT_REMOVEDIR);
        /* Busy is one that something is mounted on. */
        if (s->flags & IF_EMPTY && (error == -ENOENT || error == -ENOTEMPTY || error == -EEXIST ||
                                    error == -EBUSY))
            error = 0;
        break;
    case RENAME: {
        int to = open_parent(other_of(s), other);
        error = to < 0 ? to : renameat(folder, name, to, other);
        close_folder(to);
        break;
    }
    case MKDIR:
        error = make_folder(folder, name, s->mode);
        break;
    case SYMLINK:
        memcpy(target, s->text + s->path_n, s->other_n);
        target[s->other_n] = 0;
        temporary_name(temporary, ++serial);
        error = symlinkat(target, folder, temporary);
        if (!error && (error = renameat(folder, temporary, folder, name)))
            unlinkat(folder, temporary, 0);
        break;
    case CHMOD:
        error = set_mode(folder, name, s->mode);
        break;
    }
    close_folder(folder);
    return error;
}

/* Forget the batch; nothing of it stays behind. */
static void drop_batch(void) {
    put_close();
    forget_folders();
    for (u32 at = 0; at < steps_used;) {
        struct step *s = (struct step *)(steps + at);
        at += s->size;
        drop_contents(s);
    }
    steps_used = batch_failed = removals = 0;
}

static void batch_commit(struct frame *f) {
    u32 done = 0, skipped = 0;
    int lenient = f->flags & LENIENT;
    take_end(f);
    if (put.open) protocol_error("a batch ends inside of a file", 0);
    forget_folders();
    for (u32 at = 0; at < steps_used;) {
        struct step *s = (struct step *)(steps + at);
        at += s->size;
        if (s->failed) continue; /* told and counted when it came */
        if (batch_failed && !lenient) {
            skipped++;
            continue;
        }
        long error = apply(s);
        if (!error) {
            done++;
            continue;
        }
        drop_contents(s);
        batch_error(s->id, error, path_of(s), "the change cannot be made");
    }
    u32 failed = batch_failed;
    drop_batch();
    reply(COMMITTED, f->id, 12);
    put_u32(done);
    put_u32(failed);
    put_u32(skipped);
    reply_end();
}

#endif
