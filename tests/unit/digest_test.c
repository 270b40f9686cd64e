/* sha256 against FIPS 180-4's examples, and its text form. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oci/digest/digest.h"
#include "tap.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static const struct {
	const char *name, *text, *hex;
} known[] = {
	{ "empty", "",
	  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "abc", ABC },
	{ "two blocks",
	  "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static const struct {
	const char *name, *text;
	int result;
} texts[] = {
	{ "good", "sha256:" ABC, 0 },
	{ "empty", "", -EINVAL },
	{ "no algorithm", ABC, -EINVAL },
	{ "no digits", "sha256:", -EINVAL },
	{ "one digit short",
	  "sha256:"
	  "a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	  -EINVAL },
	{ "one digit long", "sha256:" ABC "0", -EINVAL },
	{ "capitals",
	  "sha256:"
	  "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
	  -EINVAL },
	{ "a path in its place",
	  "sha256:"
	  "../../../../etc/passwd/../../../../../../../../../../../../../../",
	  -EINVAL },
	{ "another algorithm", "sha512:" ABC ABC, -ENOTSUP },
	{ "an unknown one", "md5:900150983cd24fb0d6963f7d28e17f72", -EINVAL },
};

static void test_known(void)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		struct digest d = digest_of(known[i].text,
					    strlen(known[i].text));
		char hex[DIGEST_HEX_SIZE];

		digest_hex(&d, hex);
		ok(strcmp(hex, known[i].hex) == 0, "sha256 of %s",
		   known[i].name);
	}
}

/* A million letters a, in parts of changing size, from memory and a file. */
static void test_stream(void)
{
	static const char hex_million[] = "cdc76e5c9914fb9281a1c7e284d73e67f180"
					  "9a48a497200e046d39ccc7112cd"
					  "0";
	int fd = memfd_create("million", 0);
	struct digest_stream stream;
	struct digest d, of_fd;
	char letters[1000], hex[DIGEST_HEX_SIZE];
	size_t left = 1000000;
	uint64_t size;

	memset(letters, 'a', sizeof(letters));
	digest_begin(&stream);
	for (size_t part = 1; left; part = part % 997 + 1) {
		size_t n = part < left ? part : left;

		digest_update(&stream, letters, n);
		if (write(fd, letters, n) != (ssize_t)n)
			break;
		left -= n;
	}
	d = digest_end(&stream);
	digest_hex(&d, hex);
	ok(strcmp(hex, hex_million) == 0, "a million letters in parts");
	lseek(fd, 0, SEEK_SET);
	ok(digest_of_fd(fd, &of_fd, &size) == 0 && size == 1000000 &&
		   digest_equal(&d, &of_fd),
	   "the same from a file");
	close(fd);
}

static void test_texts(void)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char text[DIGEST_TEXT_SIZE];
		struct digest d;
		int r = digest_parse(span_of(texts[i].text), &d);

		if (r == 0)
			digest_text(&d, text);
		ok(r == texts[i].result &&
			   (r || strcmp(text, texts[i].text) == 0),
		   "%s", texts[i].name);
	}
}

int main(void)
{
	test_known();
	test_stream();
	test_texts();
	return tap_done();
}
