/* What is there: manifests of subtrees, and block sums of one file for a difference. */
#ifndef TREE_H
#define TREE_H
#include "batch.h"

enum { WITH_DIGESTS = 1, ONE_LEVEL = 2, ENTRY_MOST = 70 + 2 * (PATH_MOST + 1), ROUNDS_MOST = 3 };
enum { BLOCK_LEAST = 512, BLOCK_MOST = 1 << 20 };

static struct {
    u32 id, count, errors, skip_n;
    u8 how;
    struct frame skip; /* at the names that are left out */
    u32 n;
    char path[PATH_MOST + 1 + NAME_MOST + 1];
} tree;

/* The digest of an open file; -EAGAIN when it does not stop changing. */
static long digest_of(int fd, struct stat *st, u8 digest[32]) {
    for (int round = 0; round < ROUNDS_MOST; round++) {
        struct sha256 sums;
        struct stat after;
        sha_begin(&sums);
        for (u64 at = 0;;) {
            long n = pread(fd, space, sizeof space, at);
            if (n == -EINTR) continue;
            if (n < 0) return n;
            if (n == 0) break;
            sha_add(&sums, space, (u64)n);
            at += (u64)n;
        }
        sha_end(&sums, digest);
        long error = fstat(fd, &after);
        if (error) return error;
        int quiet = after.size == st->size && after.mtime == st->mtime &&
                    after.mtime_ns == st->mtime_ns && sums.total == (u64)after.size;
        *st = after;
        if (quiet) return 0;
    }
    return -EAGAIN;
}

/* Tell the entry at tree.path, which is `name` in `folder`. True for a folder that can be entered. */
static int tree_entry(int folder, const char *name) {
    struct stat st;
    u8 digest[32], type = '?';
    static char target[PATH_MOST + 1];
    u32 target_n = 0;
    memset(digest, 0, 32);
    memset(&st, 0, sizeof st);
    long error = fstatat(folder, name, &st);
    if (!error) {
        u32 kind = st.mode & S_IFMT;
        type = kind == S_IFREG ? 'f' : kind == S_IFDIR ? 'd' : kind == S_IFLNK ? 'l' : 'o';
    }
    if (type == 'l') {
        long n = readlinkat(folder, name, target, PATH_MOST);
        if (n < 0) error = n;
        else target_n = (u32)n;
    }
    if (type == 'f' && tree.how & WITH_DIGESTS) {
        long fd = open_to_read(folder, name);
        if (fd < 0) {
            error = fd;
        } else {
            fstat(fd, &st);
            error = digest_of((int)fd, &st, digest);
            close(fd);
            if (error) memset(digest, 0, 32);
        }
    }
    if (out_used + ENTRY_MOST > sizeof out || reply_size() > 64 << 10) {
        reply_end();
        flush();
        reply(ENTRIES, tree.id, ENTRY_MOST);
    }
    put_u8(type);
    put_u32((u32)-error);
    put_u32(st.mode & 07777);
    put_u64(type == 'd' ? 0 : (u64)st.size);
    put_u64((u64)(st.mtime * 1000000000 + st.mtime_ns));
    put_bytes(digest, 32);
    put_text(tree.path, tree.n);
    put_text(target, target_n);
    tree.count++;
    if (error) tree.errors++;
    return type == 'd';
}

static int left_out(const char *name, u32 n) {
    struct frame names = tree.skip;
    for (u32 i = 0; i < tree.skip_n; i++) {
        struct text t = take_text(&names);
        if (t.n == n && memcmp(t.p, name, n) == 0) return 1;
    }
    return 0;
}

/* An entry that says why the members of the folder at tree.path are not told. */
static void tree_trouble(long error) {
    if (out_used + ENTRY_MOST > sizeof out) {
        reply_end();
        flush();
        reply(ENTRIES, tree.id, ENTRY_MOST);
    }
    put_u8('?');
    put_u32((u32)-error);
    put_u32(0);
    put_u64(0);
    put_u64(0);
    u8 none[32];
    memset(none, 0, 32);
    put_bytes(none, 32);
    put_text(tree.path, tree.n);
    put_u32(0);
    tree.count++;
    tree.errors++;
}

/* Tell all members of an open folder. Closes `fd`. */
static void tree_members(int fd, int depth) {
    u8 entries[4096] __attribute__((aligned(8)));
    u32 here = tree.n;
    if (depth >= DEPTH_MOST) {
        tree_trouble(-ENAMETOOLONG);
        close(fd);
        return;
    }
    for (;;) {
        long n = getdents64(fd, entries, sizeof entries);
        if (n < 0) tree_trouble(n);
        if (n <= 0) break;
        for (long at = 0; at < n;) {
            struct dirent64 *d = (struct dirent64 *)(entries + at);
            u32 size = length(d->name);
            at += d->reclen;
            if (same(d->name, ".") || same(d->name, "..") || is_temporary(d->name, size)) continue;
            if (left_out(d->name, size)) continue;
            if (here + 1 + size > PATH_MOST) {
                tree_trouble(-ENAMETOOLONG);
                continue;
            }
            if (here) tree.path[here] = '/';
            tree.n = here + (here ? 1 : 0);
            memcpy(tree.path + tree.n, d->name, size);
            tree.n += size;
            if (tree_entry(fd, d->name) && !(tree.how & ONE_LEVEL)) {
                long inner = openat(fd, d->name,
                                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
                if (inner < 0) {
                    tree_trouble(inner);
                } else if (of_kernel((int)inner)) {
                    close(inner);
                } else {
                    tree_members((int)inner, depth + 1);
                }
            }
            tree.n = here;
        }
    }
    close(fd);
}

static void tree_request(struct frame *f) {
    tree.id = f->id;
    tree.how = take_u8(f);
    if (tree.how & ~(WITH_DIGESTS | ONE_LEVEL)) protocol_error("unknown bits in a request", 0);
    u32 subtrees = take_u32(f);
    struct frame paths = *f;
    for (u32 i = 0; i < subtrees; i++) take_text(f);
    tree.skip_n = take_u32(f);
    tree.skip = *f;
    for (u32 i = 0; i < tree.skip_n; i++) take_text(f);
    take_end(f);
    tree.count = tree.errors = 0;
    reply(ENTRIES, f->id, ENTRY_MOST);
    for (u32 i = 0; i < subtrees; i++) {
        struct text path = take_text(&paths);
        char name[NAME_MOST + 1] = ".";
        int folder = root_fd;
        tree.n = path.n < PATH_MOST ? path.n : PATH_MOST;
        memcpy(tree.path, path.p, tree.n);
        if (path.n) {
            int bad = bad_path(path);
            folder = bad ? -bad : open_parent(path, name);
            if (folder < 0) {
                tree_trouble(folder);
                continue;
            }
            if (!tree_entry(folder, name)) {
                close_folder(folder);
                continue;
            }
        }
        long fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        close_folder(folder);
        if (fd < 0) tree_trouble(fd);
        else tree_members((int)fd, 0);
    }
    reply_end();
    reply(TREE_END, f->id, 8);
    put_u32(tree.count);
    put_u32(tree.errors);
    reply_end();
}

static void sums_request(struct frame *f) {
    static u8 block[BLOCK_MOST];
    struct text path = take_text(f);
    u32 size = take_u32(f);
    take_end(f);
    if (size < BLOCK_LEAST || size > BLOCK_MOST) protocol_error("a block size is out of range", 0);
    char name[NAME_MOST + 1];
    int bad = bad_path(path);
    int folder = bad ? -bad : open_parent(path, name);
    long fd = folder < 0 ? folder : open_to_read(folder, name);
    struct stat st;
    close_folder(folder);
    if (fd >= 0 && fstat(fd, &st) == 0 && (st.mode & S_IFMT) != S_IFREG) {
        close(fd);
        fd = -EINVAL;
    }
    if (fd < 0) {
        reply_error(f->id, fd, path.p, path.n, "the file cannot be read");
        return;
    }
    struct sha256 whole;
    u64 at = 0;
    long n;
    sha_begin(&whole);
    reply(BLOCKS, f->id, 64 << 10);
    do {
        u32 held = 0;
        while (held < size) {
            n = pread(fd, block + held, size - held, at + held);
            if (n == -EINTR) continue;
            if (n <= 0) break;
            held += (u32)n;
        }
        if (held) {
            struct sha256 strong;
            u8 digest[32];
            u32 plain = 0, weighted = 0, i = 0;
            for (; i + 4 <= held; i += 4) { /* four at a time, which need not wait for each other */
                u32 a = block[i], b = block[i + 1], c = block[i + 2], d = block[i + 3];
                weighted += 4 * (plain + a) + 3 * b + 2 * c + d;
                plain += a + b + c + d;
            }
            for (; i < held; i++) weighted += plain += block[i];
            sha_begin(&strong);
            sha_add(&strong, block, held);
            sha_end(&strong, digest);
            sha_add(&whole, block, held);
            if (reply_size() + 20 > 64 << 10) {
                reply_end();
                reply(BLOCKS, f->id, 64 << 10);
            }
            put_u32(weighted);
            put_bytes(digest, 16);
            at += held;
        }
    } while (n > 0);
    reply_end();
    close(fd);
    if (n < 0) {
        reply_error(f->id, n, path.p, path.n, "the file cannot be read");
        return;
    }
    u8 digest[32];
    sha_end(&whole, digest);
    reply(BLOCKS_END, f->id, 40);
    put_u64(at);
    put_bytes(digest, 32);
    reply_end();
}

#endif
