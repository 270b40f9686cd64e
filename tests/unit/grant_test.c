/* Grants: which texts are one, and which covers which. */
#include <string.h>

#include "oci/grant.h"
#include "oci/runtime_config.h"
#include "tap.h"

enum {
	R = RUNTIME_DEVICE_READ,
	W = RUNTIME_DEVICE_WRITE,
	M = RUNTIME_DEVICE_MKNOD,
};

static void device_test(void)
{
	static const struct {
		const char *text, *path, *target;
		uint8_t access;
	} rows[] = {
		{ "device:/dev/ttyUSB0", "/dev/ttyUSB0", "/dev/ttyUSB0",
		  R | W | M },
		{ "device:/dev/net/tun:rw", "/dev/net/tun", "/dev/net/tun",
		  R | W },
		{ "device:/dev/a:mr:/dev/b/c", "/dev/a", "/dev/b/c", R | M },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct grant g;
		int r = grant_parse(span_of(rows[i].text), &g);

		ok(r == 0 && g.kind == GRANT_DEVICE &&
			   span_is(g.path, rows[i].path) &&
			   span_is(g.target, rows[i].target) &&
			   g.access == rows[i].access,
		   "%s", rows[i].text);
	}
}

static void refused_test(void)
{
	static const char *const rows[] = {
		"",
		"device",
		"device:",
		"device:/dev/",
		"device:/etc/passwd",
		"device:/dev/../etc/passwd",
		"device:/dev/a\nprivileged",
		"device:/dev/a:rw:/dev/b\n",
		"device:/dev//a",
		"device:dev/a",
		"device:/dev/a:",
		"device:/dev/a:x",
		"device:/dev/a:rr",
		"device:/dev/a:rwmr",
		"device:/dev/a:rw:",
		"device:/dev/a:rw:/etc/b",
		"device:/dev/a:rw:/dev/../b",
		"device:/dev/a:rw:/dev/b:",
		"device:/dev/a::/dev/b",
		"capability:",
		"capability:ALL",
		"capability:CAP_NET_ADMIN",
		"capability:net_admin",
		"capability:NET_ADMIN ",
		"privileged:",
		"privileged:host",
		"network",
		"network:",
		"network:host:",
		"uts:host",
		"bind",
		"bind:",
		"bind:/",
		"bind:sys",
		"bind:/sys/",
		"bind:/sys/../data",
		"bind:/sys:r",
		"bind:/sys:rwm",
		"bind:/sys:ro:",
		"bind:/sys:ro:/",
		"bind:/sys:ro:host",
		"Device:/dev/a",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct grant g;

		ok(grant_parse(span_of(rows[i]), &g) < 0, "\"%s\" is none",
		   rows[i]);
	}
}

static void covers_test(void)
{
	static const struct {
		const char *given, *wanted;
		bool covers;
	} rows[] = {
		{ "capability:NET_ADMIN", "capability:NET_ADMIN", true },
		{ "capability:NET_ADMIN", "capability:SYS_ADMIN", false },
		{ "capability:NET_ADMIN", "device:/dev/a", false },
		{ "device:/dev/a", "capability:CHOWN", false },
		{ "device:/dev/a", "device:/dev/a:r", true },
		{ "device:/dev/a:r", "device:/dev/a", false },
		{ "device:/dev/a:rw", "device:/dev/a:wr:/dev/b", true },
		{ "device:/dev/a:rw:/dev/b", "device:/dev/a:rw", true },
		{ "device:/dev/a", "device:/dev/ab", false },
		{ "device:/dev/ab", "device:/dev/a", false },
		{ "bind:/sys", "bind:/sys:ro", true },
		{ "bind:/sys:ro", "bind:/sys", false },
		{ "bind:/sys:ro", "bind:/sys:ro:/host/sys", true },
		{ "bind:/sys", "bind:/sys/fs", false },
		{ "bind:/:ro:/host", "bind:/:rw:/host", false },
		{ "bind:/dev/a", "device:/dev/a", false },
		{ "network:host", "network:host", true },
		{ "network:host", "pid:host", false },
		{ "privileged", "network:host", false },
		{ "privileged", "bind:/sys", false },
		{ "privileged", "device:/dev/a", true },
		{ "privileged", "capability:SYS_ADMIN", true },
		{ "capability:SYS_ADMIN", "privileged", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct grant given, wanted;

		if (ok(!grant_parse(span_of(rows[i].given), &given) &&
			       !grant_parse(span_of(rows[i].wanted), &wanted),
		       "both are grants"))
			ok(grant_covers(&given, &wanted) == rows[i].covers,
			   "%s %s %s", rows[i].given,
			   rows[i].covers ? "covers" : "does not cover",
			   rows[i].wanted);
	}
}

int main(void)
{
	struct grant g;

	ok(grant_parse(span_of("capability:NET_ADMIN"), &g) == 0 &&
		   g.kind == GRANT_CAPABILITY && g.capability == 12,
	   "a capability by the kernel's number");
	device_test();
	refused_test();
	covers_test();
	return tap_done();
}
