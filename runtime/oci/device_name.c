/* Source of the forms: systemd's 60-serial.rules, 60-persistent-storage.rules,
 * and what it calls usb_id and path_id. */
#define _GNU_SOURCE
#include "device_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"

enum { PATH_SIZE = 512, ATTRIBUTE_SIZE = 128 };

/* A directory of sysfs, from which one goes up. */
struct place {
	char path[PATH_SIZE];
	size_t top; /* of the path, that is not part of it */
};

/* What is gathered on the way up. */
struct naming {
	bool is_disk;
	char id[DEVICE_NAME_SIZE], path[DEVICE_NAME_SIZE];
	char port[ATTRIBUTE_SIZE]; /* of an adapter that has several */
	char scsi_vendor[ATTRIBUTE_SIZE], scsi_model[ATTRIBUTE_SIZE];
	char scsi_unit[24]; /* target:lun */
	char wwn[ATTRIBUTE_SIZE];
	bool is_placed; /* the path begins at something that stays */
};

static bool file_line(const char *directory, const char *name, char *value,
		      size_t size)
{
	char path[PATH_SIZE + 64];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fd_read(fd, value, size - 1);

	value[n > 0 ? n : 0] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return n > 0 && value[0];
}

static bool attribute(const struct place *p, const char *name,
		      char value[ATTRIBUTE_SIZE])
{
	return file_line(p->path, name, value, ATTRIBUTE_SIZE);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool go_up(struct place *p)
{
	char *slash = strrchr(p->path, '/');

	if (!slash || slash <= p->path + p->top)
		return false;
	*slash = '\0';
	return true;
}

static bool is_of(const struct place *p, const char *subsystem)
{
	char path[PATH_SIZE + 16], target[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/subsystem", p->path);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	target[n > 0 ? n : 0] = '\0';
	return strcmp(base_name(target), subsystem) == 0;
}

/* To the outermost one of the subsystem that we are in. */
static void skip(struct place *p, const char *subsystem)
{
	struct place above = *p;

	while (go_up(&above) && is_of(&above, subsystem))
		*p = above;
}

/* Blanks at the ends go, others become one "_" each run, and so does each
 * byte that has no place in a name. */
static void clean(char *text)
{
	static const char more[] = "#+-.:=@_";
	char *to = text;

	for (const char *p = text; *p; p++) {
		bool blank = *p == ' ' || *p == '\t';

		if (blank &&
		    (to == text || p[1] == '\0' || p[1] == ' ' || p[1] == '\t'))
			continue;
		bool is_kept = (*p >= '0' && *p <= '9') ||
			       ((*p | 32) >= 'a' && (*p | 32) <= 'z') ||
			       strchr(more, *p);

		*to++ = is_kept ? *p : '_';
	}
	*to = '\0';
}

static void text_clean(const struct place *p, const char *name,
		       const char *instead, char text[ATTRIBUTE_SIZE])
{
	if (!attribute(p, name, text) && instead)
		attribute(p, instead, text);
	clean(text);
}

static void __attribute__((format(printf, 2, 0)))
prepend(struct naming *n, const char *format, const char *text)
{
	char part[DEVICE_NAME_SIZE], whole[2 * DEVICE_NAME_SIZE + 1];

	snprintf(part, sizeof(part), format, text);
	snprintf(whole, sizeof(whole), "%s%s%s", part, n->path[0] ? "-" : "",
		 n->path);
	text_copy(n->path, sizeof(n->path), whole);
}

static void id_set(struct naming *n, const char *bus, const char *const *part)
{
	char text[DEVICE_NAME_SIZE] = "";

	if (n->id[0])
		return;
	for (; *part; part++) {
		size_t used = strlen(text);

		if (**part)
			snprintf(text + used, sizeof(text) - used, "%s%s",
				 used ? "_" : "", *part);
	}
	snprintf(n->id, sizeof(n->id), "%s-%.200s", bus, text);
}

/* An interface of a device: what the device says of itself, and which of its
 * interfaces this is. */
static void usb(struct naming *n, struct place *p)
{
	char number[ATTRIBUTE_SIZE], vendor[ATTRIBUTE_SIZE];
	char model[ATTRIBUTE_SIZE], serial[ATTRIBUTE_SIZE];
	const char *port = strchr(base_name(p->path), '-');

	if (!attribute(p, "bInterfaceNumber", number) || !port)
		return;
	prepend(n, "usb-0:%s", port + 1);
	if (!go_up(p))
		return;
	text_clean(p, "manufacturer", "idVendor", vendor);
	text_clean(p, "product", "idProduct", model);
	text_clean(p, "serial", NULL, serial);
	bool is_scsi = n->is_disk && n->scsi_unit[0];

	id_set(n, "usb",
	       (const char *const[]){ is_scsi ? n->scsi_vendor : vendor,
				      is_scsi ? n->scsi_model : model, serial,
				      NULL });
	size_t used = strlen(n->id);

	if (is_scsi)
		snprintf(n->id + used, sizeof(n->id) - used, "-%s",
			 n->scsi_unit);
	else if (!n->is_disk)
		snprintf(n->id + used, sizeof(n->id) - used, "-if%.2s", number);
	skip(p, "usb");
}

/* "ata1": a number that counts ports as they come, and in it the port's own. */
static bool ata(struct naming *n, const struct place *host)
{
	char name[2 * ATTRIBUTE_SIZE], port[ATTRIBUTE_SIZE];
	struct place p = *host;

	if (!go_up(&p) || strncmp(base_name(p.path), "ata", 3) != 0)
		return false;
	snprintf(name, sizeof(name), "ata_port/%.60s/port_no",
		 base_name(p.path));
	if (!attribute(&p, name, port))
		return false;
	prepend(n, "ata-%s.0", port);
	return true;
}

/* "H:C:T:L", of which the first counts hosts as they come. */
static void scsi(struct naming *n, struct place *p)
{
	const char *address = strchr(base_name(p->path), ':');
	char wwid[ATTRIBUTE_SIZE];

	if (!address || !attribute(p, "vendor", n->scsi_vendor))
		return;
	clean(n->scsi_vendor);
	text_clean(p, "model", NULL, n->scsi_model);
	const char *unit = strchr(address + 1, ':');

	text_copy(n->scsi_unit, sizeof(n->scsi_unit), unit ? unit + 1 : "");
	if (attribute(p, "wwid", wwid) && strncmp(wwid, "naa.", 4) == 0) {
		clean(wwid);
		text_copy(n->wwn, sizeof(n->wwn), wwid + 4);
	}
	char unit_path[24];

	text_copy(unit_path, sizeof(unit_path), address);
	skip(p, "scsi");
	if (!ata(n, p))
		prepend(n, "scsi-0%s", unit_path);
}

static void nvme(struct naming *n, struct place *p, const struct place *disk)
{
	char space[ATTRIBUTE_SIZE], model[ATTRIBUTE_SIZE];
	char serial[ATTRIBUTE_SIZE];

	text_clean(disk, "nsid", NULL, space);
	text_clean(p, "model", NULL, model);
	text_clean(p, "serial", NULL, serial);
	id_set(n, "nvme", (const char *const[]){ model, serial, NULL });
	prepend(n, "nvme-%s", space);
	skip(p, "nvme");
}

static void memory_card(struct naming *n, const struct place *p)
{
	char name[ATTRIBUTE_SIZE], serial[ATTRIBUTE_SIZE];

	text_clean(p, "name", NULL, name);
	text_clean(p, "serial", NULL, serial);
	id_set(n, "mmc", (const char *const[]){ name, serial, NULL });
}

static void virtio(struct naming *n, struct place *p, const struct place *disk)
{
	char serial[ATTRIBUTE_SIZE];

	if (n->is_disk && attribute(disk, "serial", serial)) {
		clean(serial);
		id_set(n, "virtio", (const char *const[]){ serial, NULL });
	}
	skip(p, "virtio");
}

static void climb(struct naming *n, const struct place *device)
{
	struct place p = *device;

	while (!n->is_placed && go_up(&p)) {
		if (is_of(&p, "usb-serial")) {
			attribute(&p, "port_number", n->port);
		} else if (is_of(&p, "usb")) {
			usb(n, &p);
		} else if (is_of(&p, "scsi")) {
			scsi(n, &p);
		} else if (is_of(&p, "nvme")) {
			nvme(n, &p, device);
		} else if (is_of(&p, "mmc")) {
			memory_card(n, &p);
		} else if (is_of(&p, "virtio")) {
			virtio(n, &p, device);
		} else if (is_of(&p, "pci")) {
			prepend(n, "pci-%s", base_name(p.path));
			n->is_placed = true;
		} else if (is_of(&p, "platform") &&
			   (n->is_disk || n->path[0])) {
			prepend(n, "platform-%s", base_name(p.path));
			n->is_placed = true;
		}
	}
}

/* /sys/class/tty/ttyUSB0 is a link to ../../devices/... */
static bool place_find(const char *sys, const char *class, const char *name,
		       struct place *p)
{
	char path[PATH_SIZE], target[PATH_SIZE];
	const char *up = "../../";

	snprintf(path, sizeof(path), "%s/class/%s/%.100s", sys, class, name);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	target[n > 0 ? n : 0] = '\0';
	if (strncmp(target, up, strlen(up)) != 0)
		return false;
	p->top = strlen(sys);
	n = snprintf(p->path, sizeof(p->path), "%s/%s", sys,
		     target + strlen(up));
	return n < (ssize_t)sizeof(p->path);
}

static bool node_name(const struct place *p, char node[64])
{
	char path[PATH_SIZE + 16], text[1024];
	struct span rest = { text, 0 }, line;

	snprintf(path, sizeof(path), "%s/uevent", p->path);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fd_read(fd, text, sizeof(text));

	rest.size = n > 0 ? (size_t)n : 0;
	while (span_cut(&rest, '\n', &line)) {
		if (line.size > 8 && memcmp(line.data, "DEVNAME=", 8) == 0)
			return span_copy(node, 64,
					 (struct span){ line.data + 8,
							line.size - 8 }) == 0;
	}
	return false;
}

static bool names_of(const char *sys, const char *class, const char *name,
		     struct device_names *names)
{
	bool is_disk = strcmp(class, "block") == 0;
	struct naming n = { .is_disk = is_disk };
	char part[ATTRIBUTE_SIZE], end[24] = "";
	const char *kind = is_disk ? "disk" : "serial";
	struct place p;

	if (!place_find(sys, class, name, &p) || !node_name(&p, names->node))
		return false;
	if (is_disk && attribute(&p, "partition", part)) {
		snprintf(end, sizeof(end), "-part%.8s", part);
		go_up(&p);
	}
	climb(&n, &p);
	if (!n.id[0] && n.wwn[0])
		snprintf(n.id, sizeof(n.id), "wwn-0x%s", n.wwn);
	if (n.port[0])
		snprintf(end, sizeof(end), "-port%.8s", n.port);
	names->by_id[0] = names->by_path[0] = '\0';
	if (n.id[0])
		snprintf(names->by_id, sizeof(names->by_id),
			 "/dev/%s/by-id/%.200s%s", kind, n.id, end);
	if (n.is_placed)
		snprintf(names->by_path, sizeof(names->by_path),
			 "/dev/%s/by-path/%.200s%s", kind, n.path, end);
	return n.id[0] || n.is_placed;
}

int device_names_each(const char *sys,
		      bool (*each)(const struct device_names *, void *arg),
		      void *arg)
{
	static const char *const classes[] = { "tty", "block" };
	bool goes_on = true;

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		char path[PATH_SIZE];
		struct device_names names;

		snprintf(path, sizeof(path), "%s/class/%s", sys, classes[i]);
		DIR *list = path_list(AT_FDCWD, path);

		for (struct dirent *e;
		     goes_on && list && (e = readdir(list));) {
			if (e->d_name[0] != '.' &&
			    names_of(sys, classes[i], e->d_name, &names))
				goes_on = each(&names, arg);
		}
		if (list)
			closedir(list);
	}
	return 0;
}

struct search {
	const char *path;
	dev_t now;
	struct stat *st;
	bool found;
};

static bool compare(const struct device_names *names, void *arg)
{
	struct search *s = arg;
	char path[80];
	struct stat st;

	if (strcmp(s->path, names->by_id) != 0 &&
	    strcmp(s->path, names->by_path) != 0)
		return true;
	snprintf(path, sizeof(path), "/dev/%s", names->node);
	if (stat(path, &st) < 0 || !device_is_node(&st))
		return true;
	if (!s->found || st.st_rdev == s->now)
		*s->st = st;
	s->found = true;
	return s->st->st_rdev != s->now;
}

int device_stat(const char *path, dev_t now, struct stat *st)
{
	struct search s = { .path = path, .now = now, .st = st };

	if (stat(path, st) == 0)
		return device_is_node(st) ? 0 : -ENODEV;
	if (errno != ENOENT)
		return -errno;
	device_names_each("/sys", compare, &s);
	return s.found ? 0 : -ENOENT;
}
