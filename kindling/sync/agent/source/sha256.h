/* SHA-256 (FIPS 180-4): what hashlib has everywhere, and what kindling.files remembers of files. */
#ifndef SHA256_H
#define SHA256_H
#include "sha_fast.h"

struct sha256 { u32 state[8]; u64 total; u8 block[64]; };

static int sha_fast; /* by instructions of this processor's own? */

static const u32 SHA_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void sha_begin(struct sha256 *s) {
    static const u32 first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, first, 32);
    s->total = 0;
}

static void sha_block(struct sha256 *s, const u8 *p) {
    u32 w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (u32)p[4 * i] << 24 | (u32)p[4 * i + 1] << 16 | (u32)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        u32 a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ROTATE(a, 7) ^ ROTATE(a, 18) ^ a >> 3) +
               (ROTATE(b, 17) ^ ROTATE(b, 19) ^ b >> 10);
    }
    memcpy(v, s->state, 32);
    for (int i = 0; i < 64; i++) {
        u32 one = v[7] + (ROTATE(v[4], 6) ^ ROTATE(v[4], 11) ^ ROTATE(v[4], 25)) +
                  ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA_K[i] + w[i];
        u32 two = (ROTATE(v[0], 2) ^ ROTATE(v[0], 13) ^ ROTATE(v[0], 22)) +
                  ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6];
        v[6] = v[5];
        v[5] = v[4];
        v[4] = v[3] + one;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = v[0];
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++) s->state[i] += v[i];
}

static void sha_blocks(struct sha256 *s, const u8 *p, u64 n) {
    if (sha_fast) sha_fast_blocks(s->state, p, n, SHA_K);
    else for (; n; n--, p += 64) sha_block(s, p);
}

static void sha_add(struct sha256 *s, const u8 *p, u64 n) {
    u64 held = s->total & 63;
    s->total += n;
    if (held) {
        u64 take = 64 - held < n ? 64 - held : n;
        memcpy(s->block + held, p, take);
        if (held + take < 64) return;
        sha_blocks(s, s->block, 1);
        p += take;
        n -= take;
    }
    sha_blocks(s, p, n / 64);
    memcpy(s->block, p + n / 64 * 64, n % 64);
}

static void sha_end(struct sha256 *s, u8 digest[32]) {
    u64 bits = s->total * 8, held = s->total & 63;
    s->block[held++] = 0x80;
    if (held > 56) {
        memset(s->block + held, 0, 64 - held);
        sha_blocks(s, s->block, 1);
        held = 0;
    }
    memset(s->block + held, 0, 56 - held);
    for (int i = 0; i < 8; i++) s->block[56 + i] = (u8)(bits >> (56 - 8 * i));
    sha_blocks(s, s->block, 1);
    for (int i = 0; i < 32; i++) digest[i] = (u8)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
