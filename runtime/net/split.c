/* What lwIP calls when the first segment that it has to send is larger than
 * the container's window. Its own version copies the rest of the segment, for
 * which heap.c has no block; here the rest refers to the same bytes, which
 * their owner keeps until they are acknowledged (conn_send()). */
#include <lwip/memp.h>
#include <lwip/priv/tcp_priv.h>

/* A pbuf without data that has room for headers, followed by what p holds from
 * `offset` on, not copied; NULL when there is no memory. */
static struct pbuf *rest_pbuf(const struct pbuf *p, u16_t offset)
{
	struct pbuf *rest = pbuf_alloc(PBUF_TRANSPORT, 0, PBUF_RAM);

	for (; rest && p; p = p->next) {
		struct pbuf *part;

		if (offset >= p->len) {
			offset -= p->len;
			continue;
		}
		part = pbuf_alloc_reference((u8_t *)p->payload + offset,
					    p->len - offset, PBUF_ROM);
		if (!part) {
			pbuf_free(rest);
			return NULL;
		}
		pbuf_cat(rest, part);
		offset = 0;
	}
	return rest;
}

/* A segment of what `first` holds after `split` bytes; NULL. */
static struct tcp_seg *rest_segment(const struct tcp_seg *first, u16_t split)
{
	u16_t headers = first->p->tot_len - first->len;
	struct tcp_seg *rest = memp_malloc(MEMP_TCP_SEG);

	if (!rest)
		return NULL;
	*rest = (struct tcp_seg){
		.next = first->next,
		.p = rest_pbuf(first->p, headers + split),
		.len = first->len - split,
		.flags = first->flags,
	};
	if (!rest->p || pbuf_add_header(rest->p, TCP_HLEN) != 0) {
		tcp_seg_free(rest);
		return NULL;
	}
	rest->tcphdr = rest->p->payload;
	*rest->tcphdr = *first->tcphdr;
	rest->tcphdr->seqno =
		lwip_htonl(lwip_ntohl(first->tcphdr->seqno) + split);
	return rest;
}

/* Cuts the first segment of pcb->unsent, which carries data and no options,
 * to `split` bytes, 1 to 65535. ERR_OK, also when it is not longer, or
 * ERR_MEM, then nothing has changed. */
err_t tcp_split_unsent_seg(struct tcp_pcb *pcb, u16_t split)
{
	struct tcp_seg *first = pcb->unsent, *rest;

	if (first->len <= split)
		return ERR_OK;
	rest = rest_segment(first, split);
	if (!rest)
		return ERR_MEM;
	pcb->snd_queuelen -= pbuf_clen(first->p);
	pbuf_realloc(first->p, first->p->tot_len - rest->len);
	first->len = split;
	first->next = rest;
	TCPH_UNSET_FLAG(first->tcphdr, TCP_PSH | TCP_FIN);
	pcb->snd_queuelen += pbuf_clen(first->p) + pbuf_clen(rest->p);
	return ERR_OK;
}
