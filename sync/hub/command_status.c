/* zhub status: how the hub that serves in the folder is. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "command.h"

static const char *text_of(yyjson_val *root, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(root, key));

	return text ? text : "";
}

static unsigned long long number_of(yyjson_val *root, const char *key)
{
	return yyjson_get_uint(yyjson_obj_get(root, key));
}

static void show(yyjson_val *root)
{
	yyjson_val *nodes = yyjson_obj_get(root, "nodes"), *state;
	yyjson_obj_iter iter;

	printf("name         %s\n", text_of(root, "name"));
	printf("listen       %s\n", text_of(root, "listen"));
	printf("organism     %s\n", text_of(root, "pin"));
	printf("serves since %s\n", text_of(root, "started"));
	printf("store        epoch %llu, revision %llu\n",
	       number_of(root, "epoch"), number_of(root, "revision"));
	printf("nodes       ");
	yyjson_obj_iter_init(nodes, &iter);
	while ((state = yyjson_obj_iter_next(&iter)))
		printf(" %llu %s", number_of(nodes, yyjson_get_str(state)),
		       yyjson_get_str(state));
	printf("\nconnections  %llu, %llu requests in hand\n",
	       number_of(root, "connections"), number_of(root, "requests"));
	printf("memory       %.1f MB\n",
	       (double)number_of(root, "resident_bytes") / (1 << 20));
	printf("disk free    %.1f MB\n",
	       (double)number_of(root, "disk_free_bytes") / (1 << 20));
}

static int reply_show(yyjson_doc *reply, const char *format)
{
	autofree char *text = NULL;

	if (format) {
		text = yyjson_write(reply, YYJSON_WRITE_PRETTY_TWO_SPACES,
				    NULL);
		puts(text ? text : "{}");
	} else {
		show(yyjson_doc_get_root(reply));
	}
	yyjson_doc_free(reply);
	return EXIT_DONE;
}

int command_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ 0 },
	};
	const struct command_question question = { "GET", "/v1/status", NULL };
	const char *folder = NULL, *format = NULL;
	autoclose int dir = -1;
	yyjson_doc *reply;
	int c, err;

	while ((c = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		if (c == 'd')
			folder = optarg;
		else if (c == 'o' && !strcmp(optarg, "json"))
			format = optarg;
		else
			return command_usage("status");
	}
	if (optind != argc)
		return command_usage("status");
	err = command_ask(folder, &question, &reply);
	if (err == -ECONNREFUSED)
		dir = command_folder(folder);
	if (dir >= 0)
		log_error(command_folder_name(folder),
			  "no hub serves there: start it with zhub serve");
	return err < 0 ? EXIT_FAILED : reply_show(reply, format);
}
