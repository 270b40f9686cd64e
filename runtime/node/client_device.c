/* znode devices: serial ports and disks by the names that stay, as a grant
 * names them best. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "oci/device_name.h"

#include "client.h"

struct list {
	bool json;
	unsigned n;
};

/* A name is of letters, digits and #+-.:=@_ alone, whatever the device says. */
static bool print(const struct device_names *names, void *arg)
{
	struct list *list = arg;
	bool is_first = list->n++ == 0;

	if (list->json) {
		printf("%s{\"device\": \"/dev/%s\", \"by_id\": \"%s\", "
		       "\"by_path\": \"%s\"}",
		       is_first ? "[" : ",\n ", names->node, names->by_id,
		       names->by_path);
		return true;
	}
	printf("/dev/%s\n", names->node);
	if (names->by_id[0])
		printf("  %s\n", names->by_id);
	if (names->by_path[0])
		printf("  %s\n", names->by_path);
	return true;
}

int client_devices(int argc, char **argv)
{
	struct list list = { .json = argc == 3 && !strcmp(argv[1], "-o") &&
				     !strcmp(argv[2], "json") };
	int r;

	if (argc != 1 && !list.json)
		return 2;
	r = device_names_each("/sys", print, &list);
	if (r < 0)
		return client_complain("/sys", strerror(-r));
	if (list.json)
		puts(list.n ? "]" : "[]");
	return 0;
}
