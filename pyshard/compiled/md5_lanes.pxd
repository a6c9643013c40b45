"""MD5 of eight texts at once: a processor has idle units while it goes through the 64 steps of one, and of four."""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #if defined(__GNUC__)  /* GCC and Clang: one instruction adds, mixes or turns four or eight words */
    #define MD5_HAS_LANES 1
    typedef uint32_t md5_words __attribute__((vector_size(32)));

    #define MD5_STEP(mixed, a, b, word, number, bits) \\
        a += (mixed) + words[word] + added[number];   \\
        a = b + (a << bits | a >> (32 - bits));

    #define MD5_FOUR_STEPS(mix, at, w0, w1, w2, w3, s0, s1, s2, s3) \\
        MD5_STEP(mix(b, c, d), a, b, w0, at, s0)                    \\
        MD5_STEP(mix(a, b, c), d, a, w1, at + 1, s1)                \\
        MD5_STEP(mix(d, a, b), c, d, w2, at + 2, s2)                \\
        MD5_STEP(mix(c, d, a), b, c, w3, at + 3, s3)

    #define MD5_MIX_1(x, y, z) (z ^ (x & (y ^ z)))
    #define MD5_MIX_2(x, y, z) (y ^ (z & (x ^ y)))
    #define MD5_MIX_3(x, y, z) (x ^ y ^ z)
    #define MD5_MIX_4(x, y, z) (y ^ (x | ~z))

    static void md5_of_lanes(uint32_t *states, const uint8_t *blocks, const uint32_t *added) {
        uint32_t loaded[16][8], turned[4][8];
        md5_words words[16], a, b, c, d, first[4];
        int step, lane;
        for (step = 0; step < 16; step++)
            for (lane = 0; lane < 8; lane++) {
                const uint8_t *at = blocks + 64 * lane + 4 * step;
                loaded[step][lane] = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
            }
        for (step = 0; step < 4; step++)
            for (lane = 0; lane < 8; lane++) turned[step][lane] = states[4 * lane + step];
        memcpy(words, loaded, sizeof words);
        memcpy(first, turned, sizeof first);
        a = first[0], b = first[1], c = first[2], d = first[3];
        for (step = 0; step < 16; step += 4) {
            MD5_FOUR_STEPS(MD5_MIX_1, step, step, step + 1, step + 2, step + 3, 7, 12, 17, 22)
        }
        for (step = 16; step < 32; step += 4) {
            MD5_FOUR_STEPS(MD5_MIX_2, step, (5 * step + 1) & 15, (5 * step + 6) & 15, (5 * step + 11) & 15,
                           (5 * step + 16) & 15, 5, 9, 14, 20)
        }
        for (step = 32; step < 48; step += 4) {
            MD5_FOUR_STEPS(MD5_MIX_3, step, (3 * step + 5) & 15, (3 * step + 8) & 15, (3 * step + 11) & 15,
                           (3 * step + 14) & 15, 4, 11, 16, 23)
        }
        for (step = 48; step < 64; step += 4) {
            MD5_FOUR_STEPS(MD5_MIX_4, step, (7 * step) & 15, (7 * step + 7) & 15, (7 * step + 14) & 15,
                           (7 * step + 21) & 15, 6, 10, 15, 21)
        }
        first[0] += a, first[1] += b, first[2] += c, first[3] += d;
        memcpy(turned, first, sizeof first);
        for (step = 0; step < 4; step++)
            for (lane = 0; lane < 8; lane++) states[4 * lane + step] = turned[step][lane];
    }
    #else
    #define MD5_HAS_LANES 0
    static void md5_of_lanes(uint32_t *states, const uint8_t *blocks, const uint32_t *added) {
        (void)states, (void)blocks, (void)added;  /* nobody calls it */
    }
    #endif
    """
    bint HAS_LANES "MD5_HAS_LANES"

    # Take 64 bytes of each of eight texts, one text behind the other, into the text's state, which has four words.
    void md5_of_lanes(uint32_t* states, const uint8_t* blocks, const uint32_t* added) noexcept nogil
