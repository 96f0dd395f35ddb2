/* The list of what runs here. */
#ifndef PROCESSES_H
#define PROCESSES_H
#include "proc.h"
#include "tree.h"

enum { IMAGE_MOST = 128, COMMAND_MOST = sizeof space };
enum { PROCESS_MOST = 16 + 3 * 4 + IMAGE_MOST + PATH_MOST + COMMAND_MOST };

/* What changes when the process executes another program, or its own anew. The kernel lays out each
   program at other addresses; where it does not tell them, the file that is run must do. */
static u32 image_of(struct proc *p, char image[IMAGE_MOST]) {
    char path[40], *at = image;
    u64 told = 0;
    image[0] = 0;
    for (u32 i = 0; i < 6; i++) told |= p->image[i];
    if (told > 1) { /* 1 and 0 are what one may see of a foreign process */
        for (u32 i = 0; i < 6; i++) {
            if (i) at = append(at, "-");
            at = append_hex(at, p->image[i], 16);
        }
    } else {
        struct stat st;
        proc_path(path, p->pid, "exe");
        long fd = openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
        if (fd < 0) return 0;
        if (fstat(fd, &st) == 0) {
            at = append_hex(append(at, "file-"), st.dev, 16);
            at = append_hex(append(at, "-"), st.ino, 16);
        }
        close(fd);
    }
    return (u32)(at - image);
}

static u32 command_of(u32 pid) {
    char path[40];
    u32 held = 0;
    long n;
    proc_path(path, pid, "cmdline");
    long fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    while (held < COMMAND_MOST && (n = read(fd, space + held, COMMAND_MOST - held)) > 0)
        held += (u32)n;
    close(fd);
    return held;
}

static void tell_process(u32 id, struct proc *p) {
    static char exe[PATH_MOST + 1];
    char path[40], image[IMAGE_MOST];
    if (out_used + PROCESS_MOST > sizeof out || reply_size() > 64 << 10) {
        reply_end();
        flush();
        reply(PROCESS_ENTRIES, id, PROCESS_MOST);
    }
    u32 image_n = image_of(p, image), command_n = command_of(p->pid);
    proc_path(path, p->pid, "exe");
    long exe_n = readlinkat(AT_FDCWD, path, exe, PATH_MOST);
    put_u32(p->pid);
    put_u32(p->parent);
    put_u64(p->started);
    put_text(image, image_n);
    put_text((char *)space, command_n);
    put_text(exe, exe_n > 0 ? (u32)exe_n : 0);
}

static void processes_request(struct frame *f) {
    u8 entries[4096] __attribute__((aligned(8)));
    u32 count = 0;
    take_end(f);
    long fd = openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), n = fd;
    if (fd >= 0) {
        reply(PROCESS_ENTRIES, f->id, PROCESS_MOST);
        while ((n = getdents64(fd, entries, sizeof entries)) > 0) {
            for (long at = 0; at < n;) {
                struct dirent64 *d = (struct dirent64 *)(entries + at);
                struct proc p;
                u32 pid = proc_number(d->name);
                at += d->reclen;
                if (!pid || proc_read(pid, &p) != 0 || proc_gone(&p)) continue;
                tell_process(f->id, &p);
                count++;
            }
        }
        reply_end();
        close(fd);
    }
    if (n < 0) {
        reply_error(f->id, n, "/proc", 5, "the processes cannot be told");
        return;
    }
    reply(PROCESSES_END, f->id, 4);
    put_u32(count);
    reply_end();
}

#endif
