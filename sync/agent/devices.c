/* What `znode devices` says, for who is not at the node.
 *
 * #syscalls: readlinkat
 * #syscalls[x86_64]: readlink
 */
#define _GNU_SOURCE
#include "devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "ask.h"
#include "base/fd.h"
#include "oci/device_name.h"

struct list {
	yyjson_mut_doc *doc;
	yyjson_mut_val *rows;
};

static bool add(const struct device_names *names, void *arg)
{
	const struct list *list = arg;
	yyjson_mut_val *row = yyjson_mut_arr_add_obj(list->doc, list->rows);
	char path[sizeof(names->node) + 5];

	snprintf(path, sizeof(path), "/dev/%s", names->node);
	yyjson_mut_obj_add_strcpy(list->doc, row, "device", path);
	yyjson_mut_obj_add_strcpy(list->doc, row, "by_id", names->by_id);
	yyjson_mut_obj_add_strcpy(list->doc, row, "by_path", names->by_path);
	return true;
}

void devices_tell(struct http_client *client, const char *name)
{
	struct list list = { .doc = yyjson_mut_doc_new(NULL) };
	yyjson_mut_val *root = yyjson_mut_obj(list.doc);
	autofree char *json = NULL;
	size_t size = 0;
	int err;

	yyjson_mut_doc_set_root(list.doc, root);
	list.rows = yyjson_mut_obj_add_arr(list.doc, root, "devices");
	err = device_names_each("/sys", add, &list);
	if (err == 0)
		json = yyjson_mut_write(list.doc, 0, &size);
	yyjson_mut_doc_free(list.doc);
	if (json)
		ask_answer(client, name, 200, (struct span){ json, size });
	else
		ask_refuse(client, name, 503, strerror(err ? -err : ENOMEM));
}
