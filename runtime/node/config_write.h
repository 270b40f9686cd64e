/* The parts of the writer of OCI configs. Private to config*.c. */
#ifndef NODE_CONFIG_WRITE_H
#define NODE_CONFIG_WRITE_H

#include <yyjson.h>

#include "config.h"

typedef yyjson_mut_doc *doc;
typedef yyjson_mut_val *val;

/* Appends the strings of a list that ends with NULL, or is NULL. */
void node_config_strings(doc d, val array, const char *const *list);
const char *node_config_hostname(const struct node_config *config);
/* config_mount.c: the member "mounts". */
void node_config_mounts(doc d, val root, const struct node_config *config);

#endif
