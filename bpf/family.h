/* Included before what is written once for both families: FAMILY is 4 or 6, V(flows) is flows4 or flows6. */
#undef V
#undef V_KEY
#undef HEADER
#undef IP_LENGTH
#undef PROTOCOL_ICMP

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define V(name) JOIN(name, FAMILY)
#define V_KEY(name) JOIN(V(name), _key)

#define HEADER MAC_LENGTH
#define IP_LENGTH sizeof(struct V(header))
#if FAMILY == 4
#define PROTOCOL_ICMP PROTOCOL_ICMP4
#else
#define PROTOCOL_ICMP PROTOCOL_ICMP6
#endif
