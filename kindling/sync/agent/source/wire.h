/* Frames on standard input and output. PROTOCOL.md has the whole of it. */
#ifndef WIRE_H
#define WIRE_H
#include "base.h"

enum { VERSION = 1, HEADER = 12, BODY_MOST = 1 << 20, PATH_MOST = 4095 };
/* Flags of a frame, and what WELCOME says that the agent can do. */
enum { OWN_FLAG = 1, DEFLATED = 0x80, CAN_CONTROL = 1, CAN_INFLATE = 2, HASHES_FAST = 4 };
#define MAGIC 0x4c444e4bu /* "KNDL" */

enum {
    HELLO = 0x01, PING = 0x02,
    PUT = 0x10, DATA = 0x11, COPY = 0x12, PUT_END = 0x13,
    DELETE = 0x20, RENAME = 0x21, MKDIR = 0x22, RMTREE = 0x23, SYMLINK = 0x24, CHMOD = 0x25,
    RMDIR = 0x26,
    COMMIT = 0x2e, ABORT = 0x2f,
    TREE = 0x30, SUMS = 0x31,
    SIGNAL = 0x40, RUN = 0x41, CONTROL = 0x42, CMDLINE = 0x43,
    RESOLVE = 0x44, READ = 0x45, PROCESSES = 0x46,
    WELCOME = 0x81, PONG = 0x82, OK = 0x83, ERROR = 0x84, COMMITTED = 0x85,
    ENTRIES = 0x86, TREE_END = 0x87, BLOCKS = 0x88, BLOCKS_END = 0x89,
    STARTED = 0x8a, OUTPUT = 0x8b, EXITED = 0x8c, STATUS = 0x8d, TEXT = 0x8e,
    PROCESS_ENTRIES = 0x8f, PROCESSES_END = 0x90
};

/* What must not stay behind, whichever way the process ends. Defined in batch.h. */
static void drop_batch(void);

static __attribute__((noreturn)) void protocol_error(const char *what, const char *which) {
    drop_batch();
    complain(what, which, 0);
    leave(2);
}

/* ---- what is written ---- */

static u8 out[256 << 10];
static u32 out_used, frame_at;

static void flush(void) {
    u32 done = 0;
    while (done < out_used) {
        long n = write(1, out + done, out_used - done);
        if (n == -EINTR) continue;
        if (n == -EAGAIN) {
            struct pollfd wait = {1, POLLOUT, 0};
            ppoll(&wait, 1, 0);
            continue;
        }
        if (n < 0) { /* nobody reads any more */
            drop_batch();
            leave(1);
        }
        done += (u32)n;
    }
    out_used = 0;
}

static void put_bytes(const void *p, u32 n) {
    memcpy(out + out_used, p, n);
    out_used += n;
}
static void put_u8(u8 value) { put_bytes(&value, 1); }
static void put_u16(u16 value) { put_bytes(&value, 2); } /* both architectures are little-endian */
static void put_u32(u32 value) { put_bytes(&value, 4); }
static void put_u64(u64 value) { put_bytes(&value, 8); }
static void put_text(const char *p, u32 n) {
    put_u32(n);
    put_bytes(p, n);
}

/* Begin a reply whose body is at most `most` bytes. */
static void reply(u8 type, u32 id, u32 most) {
    if (out_used + HEADER + most > sizeof out) flush();
    frame_at = out_used;
    put_u32(0);
    put_u8(type);
    put_u8(0);
    put_u16(0);
    put_u32(id);
}
static u32 reply_size(void) { return out_used - frame_at - HEADER; }
static void reply_end(void) {
    u32 n = reply_size();
    memcpy(out + frame_at, &n, 4);
}

static void reply_error(u32 id, long error, const char *path, u32 n, const char *what) {
    if (n > PATH_MOST) n = PATH_MOST;
    reply(ERROR, id, 12 + n + length(what));
    put_u32((u32)(error < 0 ? -error : error));
    put_text(path, n);
    put_text(what, length(what));
    reply_end();
}

static void reply_ok(u32 id) {
    reply(OK, id, 0);
    reply_end();
}

/* ---- what is read ---- */

static u8 in[BODY_MOST + HEADER + (64 << 10)];
static u32 in_from, in_to;

struct frame { u8 type, flags; u32 id, size, at; u8 *body; };

static u32 load32(const u8 *p) {
    u32 value;
    memcpy(&value, p, 4);
    return value;
}

/* Is a whole frame there? Looks at the header as soon as that is there. */
static int have_frame(struct frame *f) {
    u32 held = in_to - in_from;
    if (held < HEADER) return 0;
    u8 *h = in + in_from;
    f->size = load32(h);
    f->type = h[4];
    f->flags = h[5];
    f->id = load32(h + 8);
    f->at = 0;
    if (f->size > BODY_MOST) protocol_error("a frame is longer than allowed", 0);
    if (h[6] || h[7]) protocol_error("a reserved field of a frame is not zero", 0);
    if (f->flags & ~(OWN_FLAG | DEFLATED))
        protocol_error("a frame has flags that this agent does not know", 0);
    if (held < HEADER + f->size) return 0;
    f->body = h + HEADER;
    in_from += HEADER + f->size;
    return 1;
}

/* Read what is there. 0 at the end of the input. */
static int fill(void) {
    if (in_from == in_to) in_from = in_to = 0;
    if (in_from && (sizeof in - in_to < (64 << 10) || in_from > sizeof in / 2)) {
        memmove(in, in + in_from, in_to - in_from);
        in_to -= in_from;
        in_from = 0;
    }
    for (;;) {
        long n = read(0, in + in_to, sizeof in - in_to);
        if (n == -EINTR) continue;
        if (n == -EAGAIN) return 1;
        if (n <= 0) return 0;
        in_to += (u32)n;
        return 1;
    }
}

static u8 *take(struct frame *f, u32 n) {
    if (n > f->size - f->at) protocol_error("a frame ends inside one of its fields", 0);
    f->at += n;
    return f->body + f->at - n;
}
static u8 take_u8(struct frame *f) { return *take(f, 1); }
static u32 take_u32(struct frame *f) { return load32(take(f, 4)); }
static u64 take_u64(struct frame *f) {
    u64 value;
    memcpy(&value, take(f, 8), 8);
    return value;
}
struct text { const char *p; u32 n; };
static struct text take_text(struct frame *f) {
    struct text t;
    t.n = take_u32(f);
    t.p = (const char *)take(f, t.n);
    return t;
}
static void take_end(struct frame *f) {
    if (f->at != f->size) protocol_error("a frame has bytes after its last field", 0);
}

#endif
