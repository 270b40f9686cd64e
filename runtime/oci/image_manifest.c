#include "image_manifest.h"

#include <errno.h>
#include <stdio.h>

#include "image_json.h"

static bool is_layer(enum image_media media)
{
	return media == IMAGE_MEDIA_LAYER || media == IMAGE_MEDIA_LAYER_GZIP ||
	       media == IMAGE_MEDIA_LAYER_ZSTD;
}

static int parse_layers(const struct image_json *j, yyjson_val *list,
			struct image_manifest *manifest)
{
	yyjson_val *object;
	size_t i, n;

	if (yyjson_arr_size(list) > IMAGE_LAYERS_MAX)
		return image_json_fail(j, -E2BIG, "layers",
				       "%zu, over the limit of %d",
				       yyjson_arr_size(list), IMAGE_LAYERS_MAX);
	yyjson_arr_foreach(list, i, n, object)
	{
		char place[32];
		int r;

		snprintf(place, sizeof(place), "layers[%zu]", i);
		r = image_json_descriptor(j, object, place,
					  &manifest->layer[i]);
		if (r)
			return r;
		if (!is_layer(manifest->layer[i].media))
			return image_json_fail(j, -ENOTSUP, place,
					       "mediaType: not a layer that "
					       "this node unpacks");
		manifest->n_layers++;
	}
	return 0;
}

static int parse_root(const struct image_json *j, yyjson_val *root,
		      struct image_manifest *manifest)
{
	yyjson_val *list;
	int r;

	if (yyjson_get_uint(yyjson_obj_get(root, "schemaVersion")) != 2)
		return image_json_fail(j, -ENOTSUP, "schemaVersion", "want 2");
	r = image_json_descriptor(j, yyjson_obj_get(root, "config"), "config",
				  &manifest->config);
	if (!r && manifest->config.media != IMAGE_MEDIA_CONFIG)
		r = image_json_fail(j, -ENOTSUP, "config.mediaType",
				    "not the config of a container image");
	if (!r)
		r = image_json_array(j, root, "layers", &list);
	if (!r && yyjson_arr_size(list) == 0)
		r = image_json_fail(j, -EINVAL, "layers", "want at least one");
	return r ? r : parse_layers(j, list, manifest);
}

int image_manifest_parse(struct span text, struct image_manifest *manifest,
			 char error[IMAGE_ERROR_SIZE])
{
	const struct image_json j = { "manifest", error };
	yyjson_doc *doc;
	int r;

	memset(manifest, 0, sizeof(*manifest));
	r = image_json_open(&j, text, IMAGE_DOCUMENT_MAX, &doc);
	if (r)
		return r;
	r = parse_root(&j, yyjson_doc_get_root(doc), manifest);
	yyjson_doc_free(doc);
	return r;
}
