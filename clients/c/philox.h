/* Noise from a seed, the same in every language: Philox4x32-10 (Salmon et al. 2011), as docs/bundle.md lays it out. */

#include <stdint.h>

static void philox(uint32_t counter[4], uint64_t seed) {
  uint32_t left = (uint32_t)seed, right = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++, left += 0x9E3779B9u, right += 0xBB67AE85u) {
    uint64_t first = (uint64_t)0xD2511F53u * counter[0], second = (uint64_t)0xCD9E8D57u * counter[2];
    counter[0] = (uint32_t)(second >> 32) ^ counter[1] ^ left;
    counter[2] = (uint32_t)(first >> 32) ^ counter[3] ^ right;
    counter[1] = (uint32_t)second;
    counter[3] = (uint32_t)first;
  }
}

/* Number k of a position of an example, on [0, 1). */
static float uniform(uint64_t seed, uint32_t example, uint32_t position, uint32_t k) {
  uint32_t words[4] = {k / 4, position, example, 0};
  philox(words, seed);
  return (float)(words[k % 4] >> 8) * 0x1p-24f;
}
