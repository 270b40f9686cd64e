/* Base64 (RFC 4648, 4 and 5). No I/O. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>
#include <sys/types.h>

#include "span.h"

/* Either alphabet, with or without padding, nothing else: one text for one run
 * of bytes. Returns the bytes written to out, or -EINVAL, also when they are
 * more than `room`. */
ssize_t base64_decode(struct span text, void *out, size_t room);

/* The URL-safe alphabet without padding; out has room for 4/3 of it and a
 * NUL. */
void base64url_encode(const void *data, size_t size, char *out);

#endif
