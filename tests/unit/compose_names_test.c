/* Compose files: what people call services and volumes, and what lies beside
 * the file. Expected values are by hand from the Compose Specification, sync.5
 * and zctl.1. */
#include "compose_read.h"
#include "tap.h"

static const struct {
	const char *name, *yaml[3], *json;
} good[] = {
	{ "names of the kind that people have",
	  { "name: My_shop\nservices:\n  Web_1:\n    image: hub/web:1\n"
	    "    container_name: shop.web\n    depends_on: [app_db]\n"
	    "    links: [\"app_db:Database\", app_db]\n"
	    "    networks: {front: {aliases: [blog, blog, web_1], priority: "
	    "1}}\n    volumes: [db_data:/v]\n"
	    "  app_db: {image: a}\n"
	    "  side.car: {image: b, network_mode: \"service:Web_1\"}\n"
	    "volumes: {db_data: {labels: {a: b}}}\n"
	    "networks: {front: {name: proxy, external: true}}\n" },
	  "[{\"name\":\"shop-web\",\"service\":\"web_1\",\"aliases\":["
	  "\"shop.web\",\"blog\"],\"image\":\"hub/web:1\",\"depends_on\":[{"
	  "\"app\":\"app-db\",\"condition\":\"started\"}],\"mounts\":[{"
	  "\"type\":\"volume\",\"target\":\"/v\",\"source\":\"db-data\"}]},"
	  "{\"name\":\"app-db\",\"service\":\"app_db\",\"aliases\":["
	  "\"database\"],\"image\":\"a\"},{\"name\":\"side-car\","
	  "\"service\":\"side.car\",\"image\":\"b\",\"pod\":{\"app\":"
	  "\"shop-web\",\"shares\":[\"network\"]},\"depends_on\":[{\"app\":"
	  "\"shop-web\",\"condition\":\"started\"}]}]" },
	{ "several of a name",
	  { "services:\n  w_w: {image: a, scale: 2}\n" },
	  "[{\"name\":\"w-w-1\",\"service\":\"w_w\",\"image\":\"a\"},"
	  "{\"name\":\"w-w-2\",\"service\":\"w_w\",\"image\":\"a\"}]" },
	{ "a volume by its name, and one without",
	  { WEB("    volumes: [a:/a, /var/lib/x, {type: volume, target: "
		"/y}]\n") "volumes: {a: {name: Data_1}}\n" },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/a\","
	      "\"source\":\"data-1\"},{\"type\":\"volume\",\"target\":"
	      "\"/var/lib/x\",\"source\":\"web-var-lib-x\"},{\"type\":"
	      "\"volume\",\"target\":\"/y\",\"source\":\"web-y\"}]") },
	{ "folders",
	  { WEB("    volumes: [./rules:/r:ro, ./empty/:/e, ../no/such:/n, "
		"./start:/start]\n") },
	  APP(",\"mounts\":[{\"type\":\"file\",\"target\":\"/r/a\","
	      "\"content\":\"of a\\n\",\"mode\":292},{\"type\":\"file\","
	      "\"target\":\"/r/more/b\",\"content\":\"of b\\n\",\"mode\":"
	      "292},{\"type\":\"volume\",\"target\":\"/e\",\"source\":"
	      "\"empty\"},{\"type\":\"volume\",\"target\":\"/n\",\"source\":"
	      "\"no-such\"},{\"type\":\"file\",\"target\":\"/start\","
	      "\"content\":\"#!/bin/sh\\n\",\"mode\":365}]") },
	{ "what a node has not",
	  { WEB("    volumes: [/etc/localtime:/etc/localtime:ro, "
		"/etc/timezone:/etc/timezone:ro, /run/udev:/run/udev:ro, "
		"/lib/modules:/lib/modules, /var/run/dbus:/var/run/dbus]\n") },
	  APP("") },
	{ "a folder in long form",
	  { WEB("    volumes: [{type: bind, source: ./empty, target: /e, "
		"consistency: cached, bind: {create_host_path: true, "
		"propagation: rslave, selinux: z}}]\n") },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"target\":\"/e\","
	      "\"source\":\"empty\"}]") },
	{ "one on each node, whose output is not wanted",
	  { WEB("    deploy: {mode: global}\n    logging: {driver: none}\n") },
	  APP("") },
};

static const struct {
	const char *name, *yaml[3], *line;
} bad[] = {
	{ "a folder of devices",
	  { WEB("    devices: [\"/dev/dri:/dev/dri\"]\n    privileged: "
		"false\n") },
	  "f:4: services.web.devices[0]: \"/dev/dri\" is a folder: want each "
	  "device of it; of serial ports and disks zctl devices shows those "
	  "that there are" },
	{ "propagation to the node",
	  { WEB("    volumes: [{type: bind, source: /a, target: /a, bind: "
		"{propagation: rshared}}]\n") },
	  "f:4: services.web.volumes[0].bind.propagation: \"rshared\": not "
	  "supported yet" },
	{ "a folder of this machine",
	  { WEB("    volumes: [./html:/www]\n") },
	  "f:4: services.web.volumes[0]: \"html\" is a folder of this "
	  "machine, which is not on the node; use a volume with a name, or say "
	  ":ro to send its files" },
	{ "a file that is not there",
	  { WEB("    volumes: [../none.conf:/www]\n") },
	  "f:4: services.web.volumes[0]: \"../none.conf\": No such file or "
	  "directory" },
	{ "a file that is no text",
	  { WEB("    volumes: [./binary:/www]\n") },
	  "f:4: services.web.volumes[0]: \"binary\" is no text in UTF-8" },
	{ "a path that is none",
	  { WEB("    volumes: [data]\n") },
	  "f:4: services.web.volumes[0]: \"data\": want an absolute path "
	  "without .." },
	{ "a volume with a bad name",
	  { WEB("    volumes: [a+b:/b]\n") "volumes: {a+b: }\n" },
	  "f:4: services.web.volumes[0]: \"a+b\": want 1 to 63 of A-Z, a-z, "
	  "0-9, -, _ and . for the name of a volume" },
	{ "a folder that is another one than a volume",
	  { WEB("    volumes: [./new-data:/www, new_data:/x]\n") "volumes: "
								 "{new_data: "
								 "}\n" },
	  "f:4: services.web.volumes[1]: new_data is volume new-data on nodes, "
	  "as ./new-data is" },
	{ "two folders of one name",
	  { WEB("    volumes: [./a/b:/x, ./a-b/:/y]\n") },
	  "f:4: services.web.volumes[1]: ./a-b is volume a-b on nodes, as "
	  "./a/b is" },
	{ "a folder that is not there and only read",
	  { WEB("    volumes: [./rule:/r:ro]\n") },
	  "f:4: services.web.volumes[0]: \"rule\": No such file or directory" },
	{ "a volume without a name, called as another",
	  { WEB("    volumes: [web_data:/x, /data]\n") "volumes: {web_data: "
						       "}\n" },
	  "f:4: services.web.volumes[1]: web:/data is volume web-data on "
	  "nodes, "
	  "as web_data is" },
	{ "two volumes of one name",
	  { WEB("    volumes: [A_b:/b, a-b:/c]\n") "volumes: {A_b: , a-b: "
						   "}\n" },
	  "f:4: services.web.volumes[1]: a-b is volume a-b on nodes, as A_b "
	  "is" },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		becomes(good[i].name, good[i].yaml, good[i].json);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuses(bad[i].name, bad[i].yaml, bad[i].line);
	return tap_done();
}
