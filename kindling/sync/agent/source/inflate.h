/* Raw deflate (RFC 1951), as strict as zlib. The input may be anybody's: nothing is read or written
   outside of the two buffers, and no more than they hold is worked through. */
#ifndef INFLATE_H
#define INFLATE_H
#include "base.h"

enum { BITS_MOST = 15, QUICK_BITS = 9, LENGTHS_MOST = 288, DISTANCES_MOST = 32 };

struct bits { const u8 *p, *end; u64 held; u32 n; };

/* The codes of one alphabet. Short ones are looked up, the others counted through. */
struct codes {
    u16 count[BITS_MOST + 1], symbols[LENGTHS_MOST];
    u16 quick[1 << QUICK_BITS]; /* symbol << 4 | bits, 0 where the code is longer or none */
};

static void bits_fill(struct bits *b) {
    while (b->n <= 56 && b->p < b->end) {
        b->held |= (u64)*b->p++ << b->n;
        b->n += 8;
    }
}

/* The next n bits, at most 16; -1 at the end of the input. */
static int bits_take(struct bits *b, u32 n) {
    bits_fill(b);
    if (b->n < n) return -1;
    int value = (int)(b->held & ((1u << n) - 1));
    b->held >>= n;
    b->n -= n;
    return value;
}

/* Codes out of the number of bits that each symbol has. Not 0 where these make no codes: too many,
   or too few, unless it is a single one and `may_lack`. */
static int codes_make(struct codes *c, const u8 *sizes, u32 n, int may_lack) {
    u16 offsets[BITS_MOST + 1];
    u32 code = 0, first[BITS_MOST + 1];
    int left = 1, longest = 0;
    memset(c, 0, sizeof *c);
    for (u32 i = 0; i < n; i++) c->count[sizes[i]]++;
    c->count[0] = 0;
    offsets[0] = offsets[1] = 0;
    first[0] = 0;
    for (int size = 1; size <= BITS_MOST; size++) {
        left = 2 * left - c->count[size];
        if (left < 0) return -1;
        if (c->count[size]) longest = size;
        if (size < BITS_MOST) offsets[size + 1] = (u16)(offsets[size] + c->count[size]);
        code = (code + c->count[size - 1]) << 1;
        first[size] = code;
    }
    if (left > 0 && longest && (!may_lack || longest != 1)) return -1;
    if (!longest && !may_lack) return -1;
    for (u32 i = 0; i < n; i++) {
        u32 size = sizes[i], turned = 0;
        if (!size) continue;
        c->symbols[offsets[size]++] = (u16)i;
        code = first[size]++;
        if (size > QUICK_BITS) continue;
        for (u32 bit = 0; bit < size; bit++) turned |= (code >> bit & 1) << (size - 1 - bit);
        for (; turned < 1 << QUICK_BITS; turned += 1u << size)
            c->quick[turned] = (u16)(i << 4 | size);
    }
    return 0;
}

/* The next symbol; -1 where the bits are no code, or end. */
static int codes_take(struct bits *b, const struct codes *c) {
    bits_fill(b);
    u32 quick = c->quick[b->held & ((1u << QUICK_BITS) - 1)];
    if (quick) {
        u32 size = quick & 15;
        if (size > b->n) return -1;
        b->held >>= size;
        b->n -= size;
        return (int)(quick >> 4);
    }
    int code = 0, first = 0, at = 0;
    for (u32 size = 1; size <= BITS_MOST && size <= b->n; size++) {
        code |= (int)(b->held >> (size - 1) & 1);
        int count = c->count[size];
        if (code - first < count) {
            b->held >>= size;
            b->n -= size;
            return c->symbols[at + code - first];
        }
        at += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    return -1;
}

/* How long each code of a block's two alphabets is. */
static int sizes_take(struct bits *b, struct codes *lengths, struct codes *distances) {
    static const u8 order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    u8 sizes[LENGTHS_MOST + DISTANCES_MOST];
    int n = bits_take(b, 5), d = bits_take(b, 5), c = bits_take(b, 4);
    if (c < 0 || n > 29 || d > 29) return -1;
    n += 257;
    d += 1;
    memset(sizes, 0, 19);
    for (int i = 0; i < c + 4; i++) {
        int size = bits_take(b, 3);
        if (size < 0) return -1;
        sizes[order[i]] = (u8)size;
    }
    if (codes_make(lengths, sizes, 19, 0)) return -1;
    for (int at = 0; at < n + d;) {
        int symbol = codes_take(b, lengths), value = 0, again = 1;
        if (symbol < 0) return -1;
        if (symbol < 16) value = symbol;
        else if (symbol == 16) again = bits_take(b, 2), again += again < 0 ? 0 : 3;
        else if (symbol == 17) again = bits_take(b, 3), again += again < 0 ? 0 : 3;
        else again = bits_take(b, 7), again += again < 0 ? 0 : 11;
        if (symbol == 16) {
            if (!at) return -1;
            value = sizes[at - 1];
        }
        if (again < 0 || again > n + d - at) return -1;
        while (again--) sizes[at++] = (u8)value;
    }
    if (!sizes[256]) return -1; /* no code for the end of the block */
    return codes_make(lengths, sizes, (u32)n, 1) || codes_make(distances, sizes + n, (u32)d, 1);
}

static void sizes_fixed(struct codes *lengths, struct codes *distances) {
    u8 sizes[LENGTHS_MOST];
    memset(sizes, 8, 144);
    memset(sizes + 144, 9, 112);
    memset(sizes + 256, 7, 24);
    memset(sizes + 280, 8, 8);
    codes_make(lengths, sizes, LENGTHS_MOST, 1);
    memset(sizes, 5, DISTANCES_MOST);
    codes_make(distances, sizes, DISTANCES_MOST, 1);
}

/* The number of bytes made, or -1: not deflate, cut short, more behind it, or more than `most`. */
static long inflate(const u8 *from, u32 n, u8 *to, u32 most) {
    static const u16 length_from[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,
                                        15, 17, 19, 23, 27, 31, 35, 43, 51,  59,
                                        67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const u8 length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const u16 distance_from[30] = {1,   2,   3,   4,   5,    7,    9,    13,   17,   25,
                                          33,  49,  65,  97,  129,  193,  257,  385,  513,  769,
                                          1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385,
                                          24577};
    static struct codes lengths, distances;
    struct bits b = {from, from + n, 0, 0};
    u32 made = 0;
    for (int last = 0; !last;) {
        last = bits_take(&b, 1);
        int type = bits_take(&b, 2);
        if (last < 0 || type < 0 || type == 3) return -1;
        if (type == 0) {
            bits_take(&b, b.n & 7);
            int size = bits_take(&b, 16), check = bits_take(&b, 16);
            if (check < 0 || size != (check ^ 0xffff)) return -1;
            /* Whole bytes that were read ahead are given back. */
            b.p -= b.n / 8;
            b.held = b.n = 0;
            if (size > b.end - b.p || (u32)size > most - made) return -1;
            memcpy(to + made, b.p, (u32)size);
            b.p += size;
            made += (u32)size;
            continue;
        }
        if (type == 1) sizes_fixed(&lengths, &distances);
        else if (sizes_take(&b, &lengths, &distances)) return -1;
        for (;;) {
            int symbol = codes_take(&b, &lengths);
            if (symbol < 0 || symbol > 285) return -1;
            if (symbol == 256) break;
            if (symbol < 256) {
                if (made == most) return -1;
                to[made++] = (u8)symbol;
                continue;
            }
            int more = bits_take(&b, length_bits[symbol - 257]);
            int way = more < 0 ? -1 : codes_take(&b, &distances);
            if (way < 0 || way > 29) return -1;
            int far = bits_take(&b, way < 4 ? 0 : (u32)way / 2 - 1);
            if (far < 0) return -1;
            u32 length = length_from[symbol - 257] + (u32)more, back = distance_from[way] + (u32)far;
            if (back > made || length > most - made) return -1;
            while (length--) { /* byte by byte: it may read what it has just written */
                to[made] = to[made - back];
                made++;
            }
        }
    }
    return b.p == b.end && b.n < 8 ? (long)made : -1;
}

#endif
