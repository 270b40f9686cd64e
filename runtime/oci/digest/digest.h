/* Content digests of OCI: sha256 and its text form "sha256:HEX".
 *
 * Rule of use: bytes are what a descriptor says only after a digest over all
 * of them was compared with digest_equal(). sha256 is the one algorithm that
 * is taken; "sha512:..." is well formed and refused with -ENOTSUP. */
#ifndef OCI_DIGEST_H
#define OCI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum {
	DIGEST_SIZE = 32,
	DIGEST_HEX_SIZE = 65,  /* 64 digits and NUL */
	DIGEST_TEXT_SIZE = 72, /* "sha256:", 64 digits, NUL */
};

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

/* A running sha256. Plain memory: copy or abandon it at any time. */
struct digest_stream {
	union {
		uint64_t align;
		uint8_t bytes[192];
	} state;
};

void digest_begin(struct digest_stream *stream);
void digest_update(struct digest_stream *stream, const void *data,
		   size_t size_bytes);
/* Ends the stream, which must not be updated any more. */
struct digest digest_end(struct digest_stream *stream);

/* The digest of one buffer. */
struct digest digest_of(const void *data, size_t size_bytes);

/* The digest of what is left to read in fd, and how much that was.
 * 0 or -errno of read(2). */
int digest_of_fd(int fd, struct digest *digest, uint64_t *size_bytes);

bool digest_equal(const struct digest *a, const struct digest *b);

/* Parses exactly "sha256:" and 64 lower-case hex digits. -EINVAL when it is no
 * digest (OCI image-spec, descriptor.md), -ENOTSUP when it is one of another
 * algorithm. */
int digest_parse(struct span text, struct digest *digest);
/* The 64 digits alone, as in a file name. -EINVAL. */
int digest_parse_hex(struct span text, struct digest *digest);

void digest_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE]);
void digest_text(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);

#endif
