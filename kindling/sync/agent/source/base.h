/* Memory, text and the end of the process. */
#ifndef BASE_H
#define BASE_H
#include "sys.h"

#define USED __attribute__((used))

#ifdef HOSTED
void *memcpy(void *to, const void *from, size_t_ n);
void *memmove(void *to, const void *from, size_t_ n);
void *memset(void *to, int value, size_t_ n);
int memcmp(const void *left, const void *right, size_t_ n);
#else
/* The compiler may call these four by itself. The empty asm keeps it from making a call of the
   same function out of the loop. */
USED void *memcpy(void *to, const void *from, size_t_ n) {
    u8 *t = to;
    const u8 *f = from;
    for (; n >= 8; n -= 8, t += 8, f += 8) {
        u64 word;
        __builtin_memcpy(&word, f, 8);
        __builtin_memcpy(t, &word, 8);
        __asm__ volatile("" ::: "memory");
    }
    for (; n; n--) {
        *t++ = *f++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

USED void *memmove(void *to, const void *from, size_t_ n) {
    u8 *t = to;
    const u8 *f = from;
    if (t <= f || t >= f + n) return memcpy(to, from, n);
    while (n) {
        n--;
        t[n] = f[n];
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

USED void *memset(void *to, int value, size_t_ n) {
    u8 *t = to;
    for (; n; n--) {
        *t++ = (u8)value;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

USED int memcmp(const void *left, const void *right, size_t_ n) {
    const u8 *l = left, *r = right;
    for (; n; n--, l++, r++)
        if (*l != *r) return *l < *r ? -1 : 1;
    return 0;
}
#endif

static u32 length(const char *text) {
    u32 n = 0;
    while (text[n]) n++;
    return n;
}

static int same(const char *left, const char *right) {
    u32 n = length(left);
    return n == length(right) && memcmp(left, right, n) == 0;
}

static char *append(char *to, const char *text) {
    u32 n = length(text);
    memcpy(to, text, n + 1);
    return to + n;
}

static char *append_hex(char *to, u64 value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[value >> shift & 15];
    *to = 0;
    return to;
}

static char *append_number(char *to, i64 value) {
    char digits[20];
    int n = 0;
    u64 rest = value < 0 ? -(u64)value : (u64)value;
    do digits[n++] = (char)('0' + rest % 10); while (rest /= 10);
    if (value < 0) *to++ = '-';
    while (n) *to++ = digits[--n];
    *to = 0;
    return to;
}

static __attribute__((noreturn)) void leave(int code) {
    for (;;) exit_group(code);
}

static void complain(const char *what, const char *which, i64 number) {
    char line[600], *at = append(line, "kindling-agent: ");
    at = append(at, what);
    if (which) {
        u32 n = length(which) < 400 ? length(which) : 400;
        at = append(at, " `");
        for (u32 i = 0; i < n; i++) *at++ = which[i] < ' ' ? '?' : which[i];
        at = append(at, "`");
    }
    if (number) {
        at = append(at, " (");
        at = append_number(at, number);
        at = append(at, ")");
    }
    at = append(at, "\n");
    write(2, line, at - line);
}

static i64 now_ms(void) {
    struct timespec now = {0, 0};
    clock_gettime(1, &now);
    return now.sec * 1000 + now.nsec / 1000000;
}

#endif
