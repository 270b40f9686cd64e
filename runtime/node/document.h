/* The desired document that this node obeys, and what must outlive znode
 * beside it. All lies in /data/desired:
 *
 *	document	the root in PEM, then the envelope
 *	pin		of that root, for the day the document is damaged
 *	index-HEX	an image index that the document names by its digest
 *	stopped		names of applications that a person stopped and that
 *			are unless-stopped, one a line
 *
 * A document is obeyed only once it is on stable storage, and the files of one
 * that is refused are never touched. One that cannot be read any more stops
 * nothing: what runs is then left alone. */
#ifndef NODE_DOCUMENT_H
#define NODE_DOCUMENT_H

#include "trust.h"

struct document {
	int dir;     /* /data/desired, or -1 */
	bool obeyed; /* desired is filled */
	/* What the hub wants is known, be it nothing. */
	bool known;
	bool pinned;
	uint8_t pin[CHAIN_PIN_SIZE]; /* of the last document */
	struct desired desired;
};

/* Opens the directory and removes what a killed znode left half written; never
 * fails: without it there is no document, and why is logged. Before the
 * process is confined. */
void document_open(struct document *doc);
/* Reads the document that was obeyed before, if there is one. */
void document_load(struct document *doc);

/* Judges an offer, stores it, and then obeys it: on 0 *old is what was obeyed
 * before, to be freed by the caller once nothing points into it. token_pin:
 * what node.json says, or NULL. -ENOSPC and the like: what was there is whole;
 * else see trust_judge(). */
int document_take(struct document *doc, const struct offer *offer,
		  const uint8_t *token_pin, struct desired *old,
		  char error[TRUST_ERROR_SIZE]);

/* The bytes of a stored index, which the caller frees; they may be damaged.
 * -ENOENT */
int document_index_read(const struct document *doc, const struct digest *index,
			char **text, size_t *size);
int document_index_store(const struct document *doc, const struct digest *index,
			 struct span text);
/* Removes those that no application of the document names. */
void document_index_sweep(const struct document *doc);

/* Names of stopped applications, each with "\n" at its end. */
void document_stopped_read(const struct document *doc, char **text);
void document_stopped_write(const struct document *doc, const char *text);

#endif
