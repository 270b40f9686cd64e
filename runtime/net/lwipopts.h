/* How lwIP is compiled: TCP over one interface, driven by our own loop. What
 * reads IP headers, routes, reassembles or answers is left out.
 *
 * The link to a container is a queue in this machine's memory, so segments are
 * as large as a packet can be, and what has left the other side is not on its
 * way for minutes. */
#ifndef NET_LWIPOPTS_H
#define NET_LWIPOPTS_H

#define NO_SYS				1
#define SYS_LIGHTWEIGHT_PROT		0
#define LWIP_NETCONN			0
#define LWIP_SOCKET			0
#define LWIP_COMPAT_SOCKETS		0
#define LWIP_TIMERS			0
#define LWIP_STATS			0
#define LWIP_IPV4			1
#define LWIP_IPV6			1
#define LWIP_IPV6_SCOPES		0
#define LWIP_IPV6_MLD			0
#define LWIP_IPV6_REASS			0
#define LWIP_IPV6_FRAG			0
#define IPV6_FRAG_COPYHEADER		1
#define LWIP_ICMP6			1
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_ND6_QUEUEING		0
#define LWIP_ARP			0
#define LWIP_ICMP			0
#define LWIP_RAW			0
#define LWIP_UDP			0
#define LWIP_DNS			0
#define IP_REASSEMBLY			0
#define IP_FRAG				0
#define IP_FORWARD			0
#define LWIP_SINGLE_NETIF		1
#define LWIP_NETIF_LOOPBACK		0
#define LWIP_NETIF_TX_SINGLE_PBUF	0

/* Memory: all of it from heap.c. */
void *heap_take(unsigned long size);
void *heap_take_zeroed(unsigned long n, unsigned long size);
void heap_give(void *block);
#define MEM_ALIGNMENT		 16
#define MEM_CUSTOM_ALLOCATOR	 1
#define MEM_CUSTOM_MALLOC	 heap_take
#define MEM_CUSTOM_CALLOC	 heap_take_zeroed
#define MEM_CUSTOM_FREE		 heap_give
#define MEMP_MEM_MALLOC		 1
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_LINK_HLEN		 0

/* TCP. Two segments would not fit one packet of 64 KB. */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
#define TCP_MSS			       65480
#define TCP_OVERSIZE		       0
#define LWIP_WND_SCALE		       1
#define TCP_RCV_SCALE		       6
#define TCP_WND			       (2 * 1024 * 1024)
#define TCP_SND_BUF		       (2 * 1024 * 1024)
#define TCP_SND_QUEUELEN	       1024
#define LWIP_TCP_SACK_OUT	       1
#define TCP_QUEUE_OOSEQ		       1
#define TCP_OOSEQ_MAX_BYTES	       (512 * 1024)
#define TCP_OOSEQ_MAX_PBUFS	       64
#define TCP_LISTEN_BACKLOG	       0
#define LWIP_TCP_KEEPALIVE	       1
/* A tick is 100 ms: a third of the least retransmission time-out. */
#define TCP_TMR_INTERVAL     50
#define LWIP_TCP_RTO_TIME    1000
#define TCP_MSL		     1000UL
#define TCP_FIN_WAIT_TIMEOUT 20000

/* The guest's kernel left checksums of TCP to the device that it thinks it
 * has, and ours are left to it (see tun.c). */
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_GEN_TCP   0
#define CHECKSUM_CHECK_IP  0
#define CHECKSUM_GEN_IP	   1

#endif
