/* Sealed secrets: who can read them, what a change of them does, and that
 * nothing of them shows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "wire/seal.h"

static const char secret[] = "correct horse battery staple";
static struct cert_key *hub, *node, *other;
static struct cert_public to_node, to_other;

static char *sealed(const struct cert_public *to, const struct cert_key *by,
		    struct span plain)
{
	char *text = NULL;

	return seal(to, by, plain, &text) == 0 ? text : NULL;
}

/* What unseal() says; the secret must be `want` where it says 0. */
static int opened(const struct cert_key *key, const char *text,
		  struct span want)
{
	char *plain;
	size_t size = 0;
	int r = unseal(key, span_of(text), &plain, &size);

	if (r == 0 && (size != want.size || plain[size] ||
		       (size && memcmp(plain, want.data, size) != 0)))
		r = -EBADMSG;
	if (r < 0 && r != -EBADMSG && plain)
		r = -EFAULT;
	free(plain);
	return r;
}

static void test_sizes(void)
{
	static char large[SEAL_PLAIN_MAX + 1];
	static const size_t sizes[] = { 0, 1, 15, 16, 17, SEAL_PLAIN_MAX };

	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct span plain = { large, sizes[i] };
		char *text = sealed(&to_node, hub, plain);

		ok(text && opened(node, text, plain) == 0, "%zu bytes",
		   sizes[i]);
		free(text);
	}
	ok(!sealed(&to_node, hub, (struct span){ large, sizeof(large) }),
	   "more is refused");
}

static void test_who(void)
{
	char *text = sealed(&to_node, hub, span_of(secret));
	char *again = sealed(&to_node, hub, span_of(secret));
	char *for_other = sealed(&to_other, hub, span_of(secret));
	char *by_other = sealed(&to_node, other, span_of(secret));
	char *next = sealed(&to_node, hub, span_of("correct horse"));

	ok(opened(node, text, span_of(secret)) == 0, "who it is for reads it");
	ok(opened(other, text, span_of(secret)) == -EKEYREJECTED &&
		   opened(hub, text, span_of(secret)) == -EKEYREJECTED,
	   "nobody else, nor who sealed it");
	ok(!strcmp(text, again), "the same once more is the same text");
	/* The ephemeral keys, the first 65 bytes, differ. */
	ok(strncmp(text, for_other, 86) != 0 &&
		   strncmp(text, by_other, 86) != 0 &&
		   strncmp(text, next, 86) != 0,
	   "for another, by another, of another it is not");
	ok(!strstr(text, "correct") && !strstr(text, "Y29ycmVjdCBob3Jz"),
	   "the secret is not in it");
	free(text);
	free(again);
	free(for_other);
	free(by_other);
	free(next);
}

static void test_changed(void)
{
	char *text = sealed(&to_node, hub, span_of(secret));
	size_t n = strlen(text);
	unsigned taken = 0;

	/* Each place: the point, the ciphertext, the tag. */
	for (size_t i = 0; i + 4 < n; i++) {
		char kept = text[i];

		text[i] = kept == 'A' ? 'B' : 'A';
		if (opened(node, text, span_of(secret)) >= 0)
			taken++;
		text[i] = kept;
	}
	ok(taken == 0, "no change of any letter is taken (%u were)", taken);
	text[n - 4] = '\0';
	ok(opened(node, text, span_of(secret)) < 0, "nor a part of it");
	free(text);
	ok(opened(node, "", span_of("")) == -EINVAL &&
		   opened(node, "correct horse battery staple", span_of("")) ==
			   -EINVAL,
	   "nor what was never sealed");
}

/* Made by another implementation (Python's cryptography); the key is of this
 * test alone. */
static void test_foreign(void)
{
	static const char pem[] = "-----BEGIN EC PRIVATE KEY-----\n"
				  "MHcCAQEEIFRepThGEAPv3IyBwkRTGwA/"
				  "bybPzPbABzsyOf3t9JRGoAoGCCqGSM49\n"
				  "AwEHoUQDQgAERI7BSoCf+pmEgQsOm5M+3B35Wde/"
				  "Q7OdJzCTl1dyAr9U7e+X9/Vh\n"
				  "eJHF8yLayuApIwrSSAz7kXHXo89froMqfQ==\n"
				  "-----END EC PRIVATE KEY-----\n";
	static const char text[] =
		"BHDFuzu/7mkexVqlO0MvkO2aBgnhDLi+iZQWm8QSTfK/HAZ/j7WCoDEYN8r0"
		"kpJyvt7WaGEWFgsimcJ08X8DC4yBSKUp6hRhmA5TULLT4LVC2NEKxVfX/B3C"
		"eTBZ+87hP3c+naHd5EW7HVLVDQ==";
	struct cert_key *key;

	if (!ok(cert_key_read(span_of(pem), &key) == 0, "a key"))
		return;
	ok(opened(key, text, span_of(secret)) == 0,
	   "what another implementation sealed");
	cert_key_free(key);
}

int main(void)
{
	if (wire_init() < 0 || cert_key_make(&hub) < 0 ||
	    cert_key_make(&node) < 0 || cert_key_make(&other) < 0)
		return 1;
	cert_key_public(node, &to_node);
	cert_key_public(other, &to_other);
	test_sizes();
	test_who();
	test_changed();
	test_foreign();
	cert_key_free(hub);
	cert_key_free(node);
	cert_key_free(other);
	return tap_done();
}
