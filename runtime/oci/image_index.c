#include "image_index.h"

#include <errno.h>
#include <stdio.h>

#include "image_json.h"

#define ANNOTATION_TAG "org.opencontainers.image.ref.name"

int image_layout_check(struct span text, char error[IMAGE_ERROR_SIZE])
{
	const struct image_json j = { "oci-layout", error };
	const char *version;
	yyjson_doc *doc;
	int r = image_json_open(&j, text, IMAGE_DOCUMENT_MAX, &doc);

	if (r)
		return r;
	r = image_json_string(&j, yyjson_doc_get_root(doc),
			      "imageLayoutVersion", &version);
	if (!r && strncmp(version, "1.", 2) != 0)
		r = image_json_fail(&j, -ENOTSUP, "imageLayoutVersion",
				    "want 1.*");
	yyjson_doc_free(doc);
	return r;
}

static int parse_entry(const struct image_json *j, yyjson_val *object,
		       const char *place, struct image_index_entry *entry)
{
	yyjson_val *platform = NULL, *annotations = NULL;
	int r = image_json_descriptor(j, object, place, &entry->descriptor);

	if (!r)
		r = image_json_object(j, object, "platform", &platform);
	if (!r)
		r = image_json_object(j, object, "annotations", &annotations);
	if (!r && platform)
		r = image_json_platform(j, platform, &entry->platform);
	if (!r && annotations)
		r = image_json_copy(j, annotations, ANNOTATION_TAG, entry->tag,
				    sizeof(entry->tag));
	return r;
}

/* Whether an entry is of a kind that is read here; others may have any form. */
static bool is_image(yyjson_val *object)
{
	const char *media = yyjson_get_str(yyjson_obj_get(object, "mediaType"));
	enum image_media kind = media ? image_media_parse(span_of(media))
				      : IMAGE_MEDIA_OTHER;

	return kind == IMAGE_MEDIA_INDEX || kind == IMAGE_MEDIA_MANIFEST;
}

static int parse_entries(const struct image_json *j, yyjson_val *list,
			 struct image_index *index)
{
	yyjson_val *object;
	size_t i, n;

	yyjson_arr_foreach(list, i, n, object)
	{
		char place[32];
		int r;

		snprintf(place, sizeof(place), "manifests[%zu]", i);
		if (yyjson_is_obj(object) && !is_image(object))
			continue;
		if (index->n == IMAGE_INDEX_MAX)
			return image_json_fail(j, -E2BIG, place,
					       "more than %d entries",
					       IMAGE_INDEX_MAX);
		r = parse_entry(j, object, place, &index->entry[index->n]);
		if (r)
			return r;
		index->n++;
	}
	return 0;
}

int image_index_parse(struct span text, struct image_index *index,
		      char error[IMAGE_ERROR_SIZE])
{
	const struct image_json j = { "image index", error };
	yyjson_val *list;
	yyjson_doc *doc;
	int r;

	memset(index, 0, sizeof(*index));
	r = image_json_open(&j, text, IMAGE_DOCUMENT_MAX, &doc);
	if (r)
		return r;
	r = image_json_array(&j, yyjson_doc_get_root(doc), "manifests", &list);
	if (!r && !list)
		r = image_json_fail(&j, -EINVAL, "manifests", "missing");
	if (!r)
		r = parse_entries(&j, list, index);
	yyjson_doc_free(doc);
	return r;
}

/* The first entry of this tag for this platform, or -1; a stated platform is
 * preferred to an unstated one. tag NULL takes any. */
static int find(const struct image_index *index, const char *tag,
		const struct image_platform *own)
{
	int found = -1;

	for (unsigned i = 0; i < index->n; i++) {
		const struct image_index_entry *e = &index->entry[i];

		if (tag && strcmp(tag, e->tag) != 0)
			continue;
		if (!image_platform_fits(&e->platform, own))
			continue;
		if (e->platform.architecture[0])
			return (int)i;
		if (found < 0)
			found = (int)i;
	}
	return found;
}

static bool has_several_tags(const struct image_index *index)
{
	for (unsigned i = 1; i < index->n; i++)
		if (strcmp(index->entry[i].tag, index->entry[0].tag) != 0)
			return true;
	return false;
}

int image_index_pick(const struct image_index *index, const char *tag,
		     const struct image_platform *own,
		     char error[IMAGE_ERROR_SIZE])
{
	const struct image_json j = { "image index", error };
	int i;

	if (*tag)
		i = find(index, tag, own);
	else if (has_several_tags(index))
		i = find(index, "latest", own);
	else
		i = find(index, NULL, own);
	if (i >= 0)
		return i;
	if (!*tag && has_several_tags(index))
		return image_json_fail(&j, -EINVAL, "",
				       "several tags and none is \"latest\": "
				       "name one as IMAGE:TAG");
	return image_json_fail(&j, -ENOENT, "", "no image%s%s for %s/%s",
			       *tag ? " with tag " : "", tag, own->os,
			       own->architecture);
}
