#include "digest.h"

#include <errno.h>
#include <unistd.h>

#include <mbedtls/sha256.h>

/* A context without heap or hardware state, so a stream needs no end. */
_Static_assert(sizeof(mbedtls_sha256_context) <=
		       sizeof(((struct digest_stream *)0)->state),
	       "a stream holds the context");

static mbedtls_sha256_context *context(struct digest_stream *stream)
{
	return (mbedtls_sha256_context *)(void *)stream->state.bytes;
}

/* The software implementation cannot fail; the results are there for
 * accelerators, which this build has none of. */
void digest_begin(struct digest_stream *stream)
{
	mbedtls_sha256_init(context(stream));
	(void)mbedtls_sha256_starts(context(stream), 0);
}

void digest_update(struct digest_stream *stream, const void *data,
		   size_t size_bytes)
{
	(void)mbedtls_sha256_update(context(stream), data, size_bytes);
}

struct digest digest_end(struct digest_stream *stream)
{
	struct digest digest;

	(void)mbedtls_sha256_finish(context(stream), digest.bytes);
	mbedtls_sha256_free(context(stream));
	return digest;
}

struct digest digest_of(const void *data, size_t size_bytes)
{
	struct digest_stream stream;

	digest_begin(&stream);
	digest_update(&stream, data, size_bytes);
	return digest_end(&stream);
}

int digest_of_fd(int fd, struct digest *digest, uint64_t *size_bytes)
{
	static char buf[64 << 10];
	struct digest_stream stream;

	digest_begin(&stream);
	*size_bytes = 0;
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		digest_update(&stream, buf, (size_t)n);
		*size_bytes += (uint64_t)n;
	}
	*digest = digest_end(&stream);
	return 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse_hex(struct span text, struct digest *digest)
{
	if (text.size != 2 * DIGEST_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(text.data[2 * i]);
		int low = hex_value(text.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		digest->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* The registered algorithms besides sha256 (image-spec, descriptor.md). */
static bool is_other_algorithm(struct span algorithm)
{
	return span_is(algorithm, "sha512") || span_is(algorithm, "blake3") ||
	       span_is(algorithm, "sha384");
}

int digest_parse(struct span text, struct digest *digest)
{
	struct span algorithm;

	if (!span_cut(&text, ':', &algorithm) || text.size == 0)
		return -EINVAL;
	if (is_other_algorithm(algorithm))
		return -ENOTSUP;
	if (!span_is(algorithm, "sha256"))
		return -EINVAL;
	return digest_parse_hex(text, digest);
}

void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		hex[2 * i] = digits[digest->bytes[i] >> 4];
		hex[2 * i + 1] = digits[digest->bytes[i] & 15];
	}
	hex[2 * DIGEST_SIZE] = '\0';
}

void digest_text(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
	size_t n = text_copy(text, DIGEST_TEXT_SIZE, "sha256:");

	digest_hex(digest, text + n);
}
