/* How a desired document moves the applications of a node (reconcile.c). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "node/node.h"
#include "tap.h"

#define DIGEST    \
	"sha256:" \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define WEB \
	"{\"name\":\"web\",\"image\":\"hub/web:1\",\"digest\":\"" DIGEST "\""

static char *document(const char *apps)
{
	char *text = NULL;

	if (asprintf(&text,
		     "{\"node\":\"n-1\",\"name\":\"n1\",\"epoch\":1,"
		     "\"revision\":1,\"registry\":\"hub\",\"apps\":[%s]}",
		     apps) < 0)
		abort();
	return text;
}

static void obey(const char *apps)
{
	struct document *doc = &node.host.document;
	autofree char *text = document(apps);
	struct desired old = doc->desired;
	char error[DESIRED_ERROR_SIZE];

	if (desired_parse(span_of(text), &doc->desired, error))
		abort();
	doc->obeyed = doc->known = true;
	reconcile();
	desired_free(&old);
}

/* As if its instance had been started from what is wanted. */
static struct app *run(const char *name)
{
	struct app *app = node_slot(name);

	snprintf(app->id, sizeof(app->id), "%s-1", name);
	app->alive = true;
	app->note.magic = APP_NOTE_MAGIC;
	app->note.content = app->want->content;
	return app;
}

static unsigned slots(void)
{
	unsigned n = 0;

	for (int i = 0; i < NODE_SLOTS; i++)
		n += node.app[i].in_use;
	return n;
}

static void reconcile_test(void)
{
	static const struct node_app local = { .name = "own" };
	struct desired_app own = { .name = "own" };
	struct app *web;

	app_want(node_slot_new("own"), &own, &local);
	node.readable = true;
	obey(WEB "}");
	web = run("web");
	ok(slots() == 2 && web->want && !app_is_outdated(web),
	   "an application of the document beside node.json's");
	obey(WEB ",\"restart\":\"no\",\"origin\":{\"application\":\"a\"}},"
		 "{\"name\":\"b\",\"image\":\"b\",\"digest\":\"" DIGEST "\"}");
	ok(slots() == 3 && !app_is_outdated(web) &&
		   web->want->application[0] == 'a',
	   "another origin is the same content");
	obey(WEB ",\"read_only\":true}");
	ok(slots() == 3 && app_is_outdated(web) && !node_find("b") &&
		   node_slot("b"),
	   "another content; one that is taken out");
	obey("");
	ok(!web->want && !web->kept && app_is_from_hub(web),
	   "what is taken out is wanted by nobody");
	obey(WEB "}");
	ok(node_find("web") == web && !app_is_outdated(web),
	   "put in again it finds its container");
	obey("{\"name\":\"own\",\"image\":\"b\",\"digest\":\"" DIGEST "\"}");
	ok(node_slot("own")->local && node_find("own")->want == &own,
	   "a name that node.json has goes to node.json");
	web = node_slot_new("stray");
	snprintf(web->id, sizeof(web->id), "stray-1");
	web->note.magic = APP_NOTE_MAGIC;
	node.readable = false;
	reconcile_unwanted(web);
	ok(web->kept, "left alone while node.json cannot be read");
	web->note.content.bytes[0] = 1;
	reconcile_unwanted(web);
	ok(!web->kept, "but not what came from the hub");
	node.host.document.known = false;
	reconcile_unwanted(web);
	ok(web->kept, "left alone while the document cannot be read");
	desired_free(&node.host.document.desired);
}

int main(void)
{
	reconcile_test();
	return tap_done();
}
