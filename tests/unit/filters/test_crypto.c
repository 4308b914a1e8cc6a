/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Against the vectors of RFC 4231 and FIPS 180; signatures are tested with tokens. */
#include "filters/crypto.h"
#include "t.h"

static const char *hex(const uint8_t *p, size_t n)
{
    static char out[2 * MP_HASH_MAX + 1];
    for (size_t i = 0; i < n; i++) {
        snprintf(out + 2 * i, 3, "%02x", p[i]);
    }
    return out;
}

static void sha256(void)
{
    uint8_t out[32];
    mp_crypto_sha256(MP_STR("abc"), out);
    T_OK(strcmp(hex(out, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") ==
         0);
    mp_crypto_sha256(mp_str(NULL, 0), out);
    T_OK(strcmp(hex(out, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") ==
         0);
}

struct row {
    const char *key, *text;
    size_t key_n;
    const char *mac[3];
};

static void hmac(void)
{
    static char key20[20], aa131[131];
    memset(key20, 0x0b, sizeof(key20));
    memset(aa131, 0xaa, sizeof(aa131));
    const struct row rows[] = {
        {key20,
         "Hi There",
         20,
         {"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
          "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8"
          "b2fa9cb6",
          "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274e"
          "aea3f4e4be9d914eeb61f1702e696c203a126854"}},
        {"Jefe",
         "what do ya want for nothing?",
         4,
         {"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
          "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ec"
          "fab21649",
          "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65"
          "f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"}},
        {aa131,
         "Test Using Larger Than Block-Size Key - Hash Key First",
         131,
         {"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
          "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df1"
          "63f44952",
          "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd221"
          "5d6a1e5295e64f73f63f0aec8b915a985d786598"}}};
    for (size_t i = 0; i < MP_COUNTOF(rows); i++) {
        for (int h = 0; h < 3; h++) {
            struct mp_hmac_key k;
            uint8_t out[MP_HASH_MAX];
            mp_hmac_key_init(&k, (enum mp_crypto_hash)h, mp_str(rows[i].key, rows[i].key_n));
            mp_hmac(&k, mp_str_c(rows[i].text), out);
            mp_hmac(&k, mp_str_c(rows[i].text), out); /* the key is not used up */
            T_OK(strcmp(hex(out, mp_crypto_hash_size((enum mp_crypto_hash)h)), rows[i].mac[h]) ==
                 0);
        }
    }
}

/* The states of a key do not hold the key. */
static void key_is_not_kept(void)
{
    struct mp_hmac_key k;
    mp_hmac_key_init(&k, MP_SHA256, MP_STR("a secret of thirty-two characters"));
    T_OK(memmem(&k, sizeof(k), "secret of", 9) == NULL);
}

static void comparison_and_wiping(void)
{
    char a[8] = "1234567", b[8] = "1234567";
    T_OK(mp_crypto_equal(a, b, 8));
    b[7] = 1;
    T_OK(!mp_crypto_equal(a, b, 8) && mp_crypto_equal(a, b, 7) && mp_crypto_equal(a, b, 0));
    mp_crypto_wipe(a, 8);
    for (int i = 0; i < 8; i++) {
        T_EQ(a[i], 0);
    }
}

int main(void)
{
    T_RUN(sha256);
    T_RUN(hmac);
    T_RUN(key_is_not_kept);
    T_RUN(comparison_and_wiping);
    return T_DONE();
}
