#include "image_json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int image_json_fail(const struct image_json *j, int code, const char *place,
		    const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(j->error, IMAGE_ERROR_SIZE, "%s: %s%s", j->document,
			 place, *place ? ": " : "");

	if (n < IMAGE_ERROR_SIZE) {
		va_start(ap, fmt);
		vsnprintf(j->error + n, (size_t)(IMAGE_ERROR_SIZE - n), fmt,
			  ap);
		va_end(ap);
	}
	return code;
}

int image_json_open(const struct image_json *j, struct span text,
		    size_t max_bytes, yyjson_doc **doc)
{
	yyjson_read_err e;

	*doc = NULL;
	if (text.size > max_bytes)
		return image_json_fail(j, -E2BIG, "",
				       "%zu bytes, over the limit of %zu",
				       text.size, max_bytes);
	/* Without the in-situ flag yyjson copies and never writes to it. */
	*doc = yyjson_read_opts((char *)(uintptr_t)text.data, text.size,
				YYJSON_READ_NOFLAG, NULL, &e);
	if (!*doc && e.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
		return image_json_fail(j, -ENOMEM, "", "out of memory");
	if (!*doc)
		return image_json_fail(j, -EINVAL, "", "byte %zu: %s", e.pos,
				       e.msg);
	if (yyjson_is_obj(yyjson_doc_get_root(*doc)))
		return 0;
	yyjson_doc_free(*doc);
	*doc = NULL;
	return image_json_fail(j, -EINVAL, "", "want a JSON object");
}

static yyjson_val *member(yyjson_val *object, const char *key)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	return yyjson_is_null(v) ? NULL : v;
}

int image_json_object(const struct image_json *j, yyjson_val *object,
		      const char *key, yyjson_val **value)
{
	*value = member(object, key);
	if (*value && !yyjson_is_obj(*value))
		return image_json_fail(j, -EINVAL, key, "want an object");
	return 0;
}

int image_json_array(const struct image_json *j, yyjson_val *object,
		     const char *key, yyjson_val **value)
{
	*value = member(object, key);
	if (*value && !yyjson_is_arr(*value))
		return image_json_fail(j, -EINVAL, key, "want an array");
	return 0;
}

bool image_json_is_text(yyjson_val *v)
{
	return yyjson_is_str(v) &&
	       strlen(yyjson_get_str(v)) == yyjson_get_len(v);
}

int image_json_string(const struct image_json *j, yyjson_val *object,
		      const char *key, const char **value)
{
	yyjson_val *v = member(object, key);

	*value = "";
	if (!v)
		return 0;
	if (!image_json_is_text(v))
		return image_json_fail(j, -EINVAL, key,
				       "want a string without NUL");
	*value = yyjson_get_str(v);
	return 0;
}

int image_json_copy(const struct image_json *j, yyjson_val *object,
		    const char *key, char *dst, size_t dst_size)
{
	const char *s;
	int r = image_json_string(j, object, key, &s);

	dst[0] = '\0';
	if (r)
		return r;
	if (span_copy(dst, dst_size, span_of(s)))
		return image_json_fail(j, -E2BIG, key, "longer than %zu bytes",
				       dst_size - 1);
	return 0;
}

/* Metadata is read into memory whole, so its size is bounded here already. */
static uint64_t size_max(enum image_media media)
{
	switch (media) {
	case IMAGE_MEDIA_INDEX:
	case IMAGE_MEDIA_MANIFEST:
		return IMAGE_DOCUMENT_MAX;
	case IMAGE_MEDIA_CONFIG:
		return IMAGE_CONFIG_MAX;
	case IMAGE_MEDIA_OTHER:
	case IMAGE_MEDIA_LAYER:
	case IMAGE_MEDIA_LAYER_GZIP:
	case IMAGE_MEDIA_LAYER_ZSTD:
		break;
	}
	return IMAGE_BLOB_MAX;
}

static int descriptor_size(const struct image_json *j, yyjson_val *object,
			   const char *place, struct image_descriptor *d)
{
	yyjson_val *v = yyjson_obj_get(object, "size");
	uint64_t max = size_max(d->media);

	if (!yyjson_is_uint(v))
		return image_json_fail(j, -EINVAL, place,
				       "size: want a number of bytes");
	d->size = yyjson_get_uint(v);
	if (d->size > max)
		return image_json_fail(
			j, -E2BIG, place, "size: %llu, over the limit of %llu",
			(unsigned long long)d->size, (unsigned long long)max);
	return 0;
}

int image_json_descriptor(const struct image_json *j, yyjson_val *object,
			  const char *place, struct image_descriptor *d)
{
	const char *media, *digest;
	int r;

	if (!yyjson_is_obj(object))
		return image_json_fail(j, -EINVAL, place, "want an object");
	r = image_json_string(j, object, "mediaType", &media);
	if (!r)
		r = image_json_string(j, object, "digest", &digest);
	if (r)
		return r;
	d->media = image_media_parse(span_of(media));
	r = digest_parse(span_of(digest), &d->digest);
	if (r == -ENOTSUP)
		return image_json_fail(j, r, place,
				       "digest: only sha256 is supported");
	if (r)
		return image_json_fail(
			j, r, place,
			"digest: want \"sha256:\" and 64 hex digits");
	return descriptor_size(j, object, place, d);
}

int image_json_platform(const struct image_json *j, yyjson_val *object,
			struct image_platform *platform)
{
	int r = image_json_copy(j, object, "os", platform->os,
				sizeof(platform->os));

	if (!r)
		r = image_json_copy(j, object, "architecture",
				    platform->architecture,
				    sizeof(platform->architecture));
	if (!r)
		r = image_json_copy(j, object, "variant", platform->variant,
				    sizeof(platform->variant));
	return r;
}
