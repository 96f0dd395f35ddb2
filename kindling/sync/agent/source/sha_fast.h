/* SHA-256 by the instructions that most processors have for it; sha256.h asks whether this one has.
   In assembly, so that any compiler makes them without being told of the processor. */
#ifndef SHA_FAST_H
#define SHA_FAST_H
#include "base.h"

typedef u32 v4 __attribute__((vector_size(16)));

#if defined(__x86_64__)
static inline void cpuid(u32 leaf, u32 found[4]) {
    __asm__("cpuid" : "=a"(found[0]), "=b"(found[1]), "=c"(found[2]), "=d"(found[3])
            : "a"(leaf), "c"(0));
}

static int sha_can(const u64 *about) {
    u32 first[4], most[4];
    (void)about;
    cpuid(0, most);
    if (most[0] < 7) return 0;
    cpuid(1, first);
    cpuid(7, most);
    return first[2] >> 9 & 1 && most[1] >> 29 & 1; /* SSSE3 and SHA */
}

static inline v4 big_endian(v4 a) {
    static const v4 order = {0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f};
    __asm__("pshufb %1, %0" : "+x"(a) : "x"(order));
    return a;
}

/* The next four words of the message from the sixteen before them. */
static inline v4 next_words(v4 a, v4 b, v4 c, v4 d) {
    v4 middle = d;
    __asm__("sha256msg1 %1, %0" : "+x"(a) : "x"(b));
    __asm__("palignr $4, %1, %0" : "+x"(middle) : "x"(c));
    a += middle;
    __asm__("sha256msg2 %1, %0" : "+x"(a) : "x"(d));
    return a;
}

/* Two rounds: what `one` has next. `two` as it is becomes the other half. */
static inline v4 two_rounds(v4 one, v4 two, v4 words) {
    __asm__("sha256rnds2 %1, %0" : "+x"(one) : "x"(two), "Yz"(words));
    return one;
}

#define FIRST_HALF(s) {s[5], s[4], s[1], s[0]}
#define SECOND_HALF(s) {s[7], s[6], s[3], s[2]}
static const u8 HALVES[8] = {3, 2, 7, 6, 1, 0, 5, 4}; /* where a word of the state is in both */

static inline void four_rounds(v4 *first, v4 *second, v4 words) {
    v4 high;
    __asm__("pshufd $0x0e, %1, %0" : "=x"(high) : "x"(words));
    *second = two_rounds(*second, *first, words);
    *first = two_rounds(*first, *second, high);
}
#else
enum { AT_HWCAP = 16, HWCAP_SHA2 = 1 << 6 };
#define WITH_SHA ".arch armv8-a+crypto\n"

static int sha_can(const u64 *about) {
    for (; about[0]; about += 2)
        if (about[0] == AT_HWCAP) return (about[1] & HWCAP_SHA2) != 0;
    return 0;
}

static inline v4 big_endian(v4 a) {
    __asm__("rev32 %0.16b, %0.16b" : "+w"(a));
    return a;
}

static inline v4 next_words(v4 a, v4 b, v4 c, v4 d) {
    __asm__(WITH_SHA "sha256su0 %0.4s, %1.4s" : "+w"(a) : "w"(b));
    __asm__(WITH_SHA "sha256su1 %0.4s, %1.4s, %2.4s" : "+w"(a) : "w"(c), "w"(d));
    return a;
}

#define FIRST_HALF(s) {s[0], s[1], s[2], s[3]}
#define SECOND_HALF(s) {s[4], s[5], s[6], s[7]}
static const u8 HALVES[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static inline void four_rounds(v4 *first, v4 *second, v4 words) {
    v4 before = *first;
    __asm__(WITH_SHA "sha256h %q0, %q1, %2.4s" : "+w"(*first) : "w"(*second), "w"(words));
    __asm__(WITH_SHA "sha256h2 %q0, %q1, %2.4s" : "+w"(*second) : "w"(before), "w"(words));
}
#endif

/* `n` blocks of 64 bytes, with the constants `k` of the rounds. */
static void sha_fast_blocks(u32 state[8], const u8 *p, u64 n, const u32 k[64]) {
    v4 first = FIRST_HALF(state), second = SECOND_HALF(state), w[16];
    for (; n; n--, p += 64) {
        v4 older_first = first, older_second = second;
        for (int i = 0; i < 16; i++) {
            v4 round;
            __builtin_memcpy(&round, k + 4 * i, 16);
            if (i < 4) {
                __builtin_memcpy(w + i, p + 16 * i, 16);
                w[i] = big_endian(w[i]);
            } else {
                w[i] = next_words(w[i - 4], w[i - 3], w[i - 2], w[i - 1]);
            }
            four_rounds(&first, &second, w[i] + round);
        }
        first += older_first;
        second += older_second;
    }
    for (int i = 0; i < 8; i++) state[i] = HALVES[i] < 4 ? first[HALVES[i]] : second[HALVES[i] - 4];
}

#endif
