/* Pushing blobs: whole, in chunks, or by pointing at one that is here already.
 * Bytes go straight into the upload's file. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "registry.h"

/* ---- replies ---- */

static void location(const struct registry_call *call, const char *kind,
		     const char *reference, char out[400])
{
	snprintf(out, 400, "/v2/%s/blobs/%s%s", call->repo, kind, reference);
}

/* Where the upload stands, "0-0" when nothing came yet. The right to write goes
 * before the reply does: the client may go on over another connection. */
static void reply_progress(struct registry_call *call, int status)
{
	uint64_t size = blob_upload_size(call->upload);
	char where[400], range[40], id[BLOB_ID_SIZE];
	const struct http_header headers[] = {
		{ "location", where },
		{ "range", range },
		{ "docker-upload-uuid", id },
	};

	text_copy(id, sizeof(id), blob_upload_id(call->upload));
	location(call, "uploads/", id, where);
	snprintf(range, sizeof(range), "0-%llu",
		 (unsigned long long)(size ? size - 1 : 0));
	blob_upload_close(call->upload);
	call->upload = NULL;
	registry_reply(call->request, status, headers, 3);
}

static void reply_created(struct registry_call *call,
			  const struct digest *digest)
{
	char where[400], text[DIGEST_TEXT_SIZE];
	const struct http_header headers[] = {
		{ "location", where },
		{ "docker-content-digest", text },
	};

	digest_text(digest, text);
	location(call, "", text, where);
	registry_reply(call->request, 201, headers, 2);
}

/* What came so far is not kept on a disk that is full. */
static void fail(struct registry_call *call, int error)
{
	if (error == -ENOSPC) {
		log_error(call->repo, "push refused: the disk is full: free "
				      "some space");
		if (call->upload)
			blob_upload_drop(call->upload);
		call->upload = NULL;
	}
	call->failed = true;
	registry_fail_errno(call->request, error);
}

/* ---- bodies ---- */

static void upload_finished(void *user, int error)
{
	struct registry_call *call = user;

	if (error < 0)
		registry_fail_errno(call->request, error);
	else
		reply_created(call, &call->digest);
}

static void upload_body(struct http_request *request, struct span bytes)
{
	struct registry_call *call = request->user;
	int err;

	http_consumed(request, bytes.size);
	if (call->failed)
		return;
	err = blob_upload_write(call->upload, bytes);
	if (err < 0)
		fail(call, err);
}

static void upload_end(struct http_request *request)
{
	struct registry_call *call = request->user;
	struct blob_upload *upload = call->upload;

	if (call->failed)
		return;
	if (!call->finish) {
		reply_progress(call, 202);
		return;
	}
	call->upload = NULL; /* consumed */
	blob_upload_finish(upload, &call->digest, upload_finished, call);
}

static void upload_gone(struct http_request *request, bool complete)
{
	(void)complete;
	registry_call_gone(request->user);
}

static const struct http_request_on upload_on = {
	.body = upload_body,
	.end = upload_end,
	.gone = upload_gone,
};

/* ---- requests ---- */

/* ?digest=; 1 when it is there and good, 0 when it is not there, or -EINVAL
 * after a reply. */
static int query_digest(struct registry_call *call, const char *name,
			struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE + 64];
	int err = http_query(call->request, name, text, sizeof(text));

	if (err == -ENOENT)
		return 0;
	if (err < 0 || digest_parse(span_of(text), digest) < 0) {
		registry_fail(call->request, 400, "DIGEST_INVALID",
			      "want sha256: and 64 hex digits");
		return -EINVAL;
	}
	return 1;
}

static uint64_t announced(const struct registry_call *call)
{
	int64_t n = call->request->content_length;

	return n > 0 ? (uint64_t)n : 0;
}

void registry_upload_start(struct registry_call *call)
{
	struct digest mount;
	uint64_t size;
	int has_mount = query_digest(call, "mount", &mount);
	int has_digest = has_mount < 0
				 ? -EINVAL
				 : query_digest(call, "digest", &call->digest);
	int err;

	if (has_digest < 0)
		return;
	if (has_mount && blob_stat(call->hub->blobs, &mount, &size) == 0) {
		reply_created(call, &mount);
		return;
	}
	err = blob_upload_new(call->hub->blobs, announced(call), &call->upload);
	if (err < 0) {
		fail(call, err);
		return;
	}
	if (!has_digest) {
		reply_progress(call, 202);
		return;
	}
	call->finish = call->unnamed = true;
	call->request->on = &upload_on;
}

/* Takes up the upload that the path names; false after a reply. */
static bool upload_take(struct registry_call *call)
{
	int err = blob_upload_open(call->hub->blobs, span_of(call->reference),
				   &call->upload);

	if (err == -ENOENT)
		registry_fail(call->request, 404, "BLOB_UPLOAD_UNKNOWN",
			      "no such upload: start anew");
	else if (err < 0)
		fail(call, err);
	return err == 0;
}

void registry_upload_status(struct registry_call *call)
{
	if (upload_take(call))
		reply_progress(call, 204);
}

/* "FIRST-LAST": chunks come in order and leave nothing out. */
static bool chunk_follows(const struct registry_call *call)
{
	const char *field = http_header(call->request, "content-range");
	struct span rest, first;
	uint64_t offset;

	if (!field)
		return true;
	if (!strncmp(field, "bytes ", 6))
		field += 6;
	rest = span_of(field);
	return span_cut(&rest, '-', &first) &&
	       span_u64(first, INT64_MAX, &offset) == 0 &&
	       offset == blob_upload_size(call->upload);
}

static bool chunk_start(struct registry_call *call)
{
	int err;

	if (!upload_take(call))
		return false;
	if (!chunk_follows(call)) {
		call->failed = true;
		reply_progress(call, 416);
		return false;
	}
	err = blobs_room(call->hub->blobs, announced(call));
	if (err < 0) {
		fail(call, err);
		return false;
	}
	call->request->on = &upload_on;
	return true;
}

void registry_upload_add(struct registry_call *call)
{
	chunk_start(call);
}

void registry_upload_put(struct registry_call *call)
{
	int has = query_digest(call, "digest", &call->digest);

	if (has == 0)
		registry_fail(call->request, 400, "DIGEST_INVALID",
			      "want ?digest=");
	if (has > 0 && chunk_start(call))
		call->finish = true;
}

void registry_upload_delete(struct registry_call *call)
{
	if (!upload_take(call))
		return;
	blob_upload_drop(call->upload);
	call->upload = NULL;
	registry_reply(call->request, 204, NULL, 0);
}
