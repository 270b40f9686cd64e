/* Reading the members of foreign JSON documents for the image_* parsers, the
 * only users. A getter gives 0 and an empty value for what is absent or null,
 * and -errno with one line in the reader's error for a wrong type. */
#ifndef OCI_IMAGE_JSON_H
#define OCI_IMAGE_JSON_H

#include <yyjson.h>

#include "image_descriptor.h"

struct image_json {
	const char *document; /* "manifest", for messages */
	char *error;	      /* IMAGE_ERROR_SIZE bytes */
};

/* Parses text into *doc, whose root is an object. -E2BIG above max_bytes. */
int image_json_open(const struct image_json *j, struct span text,
		    size_t max_bytes, yyjson_doc **doc);

/* Writes "document: place: message" and returns code. */
__attribute__((format(printf, 4, 5))) int image_json_fail(
	const struct image_json *j, int code, const char *place,
	const char *fmt, ...);

/* Object or array member `key` of object; *value is NULL when absent. */
int image_json_object(const struct image_json *j, yyjson_val *object,
		      const char *key, yyjson_val **value);
int image_json_array(const struct image_json *j, yyjson_val *object,
		     const char *key, yyjson_val **value);

/* String member without NUL bytes, which lives in the document; "" when
 * absent. */
int image_json_string(const struct image_json *j, yyjson_val *object,
		      const char *key, const char **value);
/* The same copied into dst; too long is an error. */
int image_json_copy(const struct image_json *j, yyjson_val *object,
		    const char *key, char *dst, size_t dst_size);
/* Whether v is a string without NUL bytes. */
bool image_json_is_text(yyjson_val *v);

/* The descriptor that `object` is; place names it in messages. */
int image_json_descriptor(const struct image_json *j, yyjson_val *object,
			  const char *place, struct image_descriptor *d);

/* The members of a platform or config object. */
int image_json_platform(const struct image_json *j, yyjson_val *object,
			struct image_platform *platform);

#endif
