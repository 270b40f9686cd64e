/* A small organism for the tests of sync/wire: root, one hub, one node, one
 * signer of documents, and an impostor root. */
#ifndef UNIT_WIRE_PKI_H
#define UNIT_WIRE_PKI_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "wire/cert.h"

struct party {
	struct cert_key *key;
	char pem[CERT_PEM_SIZE];       /* its certificate */
	char chain[4 * CERT_PEM_SIZE]; /* and those above, the root left out */
};

struct pki {
	struct party root, hub_ca, server, node, signer;
	char server_chain[4 * CERT_PEM_SIZE]; /* with the root */
	uint8_t pin[CHAIN_PIN_SIZE];
};

static void pki_join(char *to, size_t size, const char *a, const char *b)
{
	size_t n = text_copy(to, size, a);

	text_copy(to + n, size - n, b);
}

static void pki_issue(struct party *p, const struct party *by, uint8_t use,
		      const char *name, const char *const *names, int64_t from,
		      int64_t to)
{
	struct cert_plan plan = { .use = use,
				  .name = name,
				  .names = names,
				  .not_before = from,
				  .not_after = to,
				  .path_length = by ? 0 : 2 };
	struct cert_public public;
	struct chain *above = NULL;

	while (names && names[plan.n_names])
		plan.n_names++;
	if (!p->key)
		cert_key_make(&p->key);
	cert_key_public(p->key, &public);
	if (by)
		chain_read(span_of(by->pem), &above);
	if (cert_issue(&plan, &public, by ? by->key : p->key, above, p->pem))
		abort();
	chain_free(above);
	pki_join(p->chain, sizeof(p->chain), p->pem, by ? by->chain : "");
	if (!by)
		p->chain[0] = '\0';
}

__attribute__((unused)) static void pki_make(struct pki *pki)
{
	static const char *const any[] = { "uri:zooid:///", NULL };
	static const char *const server[] = { "dns:localhost", "ip:127.0.0.1",
					      "ip:::1", NULL };
	static const char *const node[] = { "uri:zooid:///n1", NULL };
	int64_t now = time(NULL), day = 86400;
	struct cert_public public;

	memset(pki, 0, sizeof(*pki));
	pki_issue(&pki->root, NULL, CHAIN_USE_ISSUE, "root", NULL, now - day,
		  now + 7300 * day);
	pki_issue(&pki->hub_ca, &pki->root, CHAIN_USE_ISSUE, "hub", any,
		  now - day, now + 1825 * day);
	pki_issue(&pki->server, &pki->hub_ca, CHAIN_USE_SERVER, "server",
		  server, now - day, now + 365 * day);
	pki_issue(&pki->node, &pki->hub_ca, CHAIN_USE_CLIENT,
		  "n-0123456789abcd", node, now - day, now + 90 * day);
	pki_issue(&pki->signer, &pki->hub_ca, CHAIN_USE_SIGN, "documents", any,
		  now - day, now + 365 * day);
	pki_join(pki->server_chain, sizeof(pki->server_chain),
		 pki->server.chain, pki->root.pem);
	cert_key_public(pki->root.key, &public);
	cert_pin(&public, pki->pin);
}

__attribute__((unused)) static void pki_free(struct pki *pki)
{
	cert_key_free(pki->root.key);
	cert_key_free(pki->hub_ca.key);
	cert_key_free(pki->server.key);
	cert_key_free(pki->node.key);
	cert_key_free(pki->signer.key);
}

#endif
