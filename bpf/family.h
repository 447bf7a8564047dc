/* The code of a family: parsing, connection tracking, forwarding. It is compiled twice, with FAMILY 4 and
 * FAMILY 6, under plain names. This list maps each of them to its family's: `flow_key` becomes `flow_key4` or
 * `flow_key6`.
 *
 * So no variable, parameter or field of that code may have a name of the list. */
#pragma once

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* structs.h */
#define ip_address JOIN(ip_address, FAMILY)
#define frontend_key JOIN(frontend_key, FAMILY)
#define flow_key JOIN(flow_key, FAMILY)
#define flow JOIN(flow, FAMILY)
#define fragment_key JOIN(fragment_key, FAMILY)
#define cached_hop JOIN(cached_hop, FAMILY)
#define affinity_key JOIN(affinity_key, FAMILY)
#define range_key JOIN(range_key, FAMILY)
#define masquerade_address JOIN(masquerade_address, FAMILY)
#define pod_cidr JOIN(pod_cidr, FAMILY)
#define pod_mask JOIN(pod_mask, FAMILY)
#define service_cidrs JOIN(service_cidrs, FAMILY)
#define service_masks JOIN(service_masks, FAMILY)

/* maps.h */
#define frontends JOIN(frontends, FAMILY)
#define ranges JOIN(ranges, FAMILY)
#define locals JOIN(locals, FAMILY)
#define flows JOIN(flows, FAMILY)
#define brief JOIN(brief, FAMILY)
#define next_hops JOIN(next_hops, FAMILY)
#define fragments JOIN(fragments, FAMILY)
#define affinity_map JOIN(affinity, FAMILY) /* affinity4, affinity6: `affinity` itself is a struct */

/* consts.h, protocols.h, address.h, checksum.h */
#define CONFIG_PODS_BY_CIDR JOIN(CONFIG_PODS_BY_CIDR, FAMILY)
#define ip_header JOIN(ip_header, FAMILY)
#define address_equal JOIN(address_equal, FAMILY)
#define address_in_cidr JOIN(address_in_cidr, FAMILY)
#define address_is_unspecified JOIN(address_is_unspecified, FAMILY)
#define address_is_martian JOIN(address_is_martian, FAMILY)
#define address_hash JOIN(address_hash, FAMILY)
#define checksum_of_address JOIN(checksum_of_address, FAMILY)
#define checksum_diff_address JOIN(checksum_diff_address, FAMILY)
#define FRAGMENT_HEADER_LENGTH (FAMILY == 4 ? 0 : sizeof(struct fragment_header))
#define IP_HEADER_LENGTH sizeof(struct ip_header)
#define ICMP_PROTOCOL (FAMILY == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)

/* filter.h */
#define filter_has JOIN(filter_has, FAMILY)
#define filter_has_frontend JOIN(filter_has_frontend, FAMILY)
#define filter_add JOIN(filter_add, FAMILY)

/* parse.h */
#define packet_info JOIN(packet_info, FAMILY)
#define ip_is_fragment JOIN(ip_is_fragment, FAMILY)
#define ip_header_is_supported JOIN(ip_header_is_supported, FAMILY)
#define ip_total_length JOIN(ip_total_length, FAMILY)
#define ip_dont_fragment JOIN(ip_dont_fragment, FAMILY)
#define packet_key_init JOIN(packet_key_init, FAMILY)
#define tcp_parse JOIN(tcp_parse, FAMILY)
#define sctp_chunk_flags JOIN(sctp_chunk_flags, FAMILY)
#define sctp_parse JOIN(sctp_parse, FAMILY)
#define icmp_type_parse JOIN(icmp_type_parse, FAMILY)
#define short_packet_parse JOIN(short_packet_parse, FAMILY)
#define packet_parse JOIN(packet_parse, FAMILY)

/* flows.h */
#define packet_scratch JOIN(packet_scratch, FAMILY)
#define flow_reverse_key JOIN(flow_reverse_key, FAMILY)
#define flow_set_mirror JOIN(flow_set_mirror, FAMILY)
#define flow_mirrors JOIN(flow_mirrors, FAMILY)
#define flow_is_idle JOIN(flow_is_idle, FAMILY)
#define flow_find JOIN(flow_find, FAMILY)
#define connection_move JOIN(connection_move, FAMILY)
#define connection_delete JOIN(connection_delete, FAMILY)
#define connection_is_stale JOIN(connection_is_stale, FAMILY)
#define flow_mirror_init JOIN(flow_mirror_init, FAMILY)
#define connection_restore_reverse JOIN(connection_restore_reverse, FAMILY)
#define connection_open JOIN(connection_open, FAMILY)
#define connection_refresh JOIN(connection_refresh, FAMILY)
#define connection_note_close JOIN(connection_note_close, FAMILY)
#define connection_count_packet JOIN(connection_count_packet, FAMILY)

/* select.h */
#define frontend_lookup_exact JOIN(frontend_lookup_exact, FAMILY)
#define frontend_lookup JOIN(frontend_lookup, FAMILY)
#define frontend_disposition JOIN(frontend_disposition, FAMILY)
#define source_in_ranges JOIN(source_in_ranges, FAMILY)
#define address_in_service_cidrs JOIN(address_in_service_cidrs, FAMILY)
#define affinity_lookup JOIN(affinity_lookup, FAMILY)
#define affinity_store JOIN(affinity_store, FAMILY)
#define connection_hash JOIN(connection_hash, FAMILY)
#define backend_select JOIN(backend_select, FAMILY)

/* translate.h */
#define ttl_decrement JOIN(ttl_decrement, FAMILY)
#define ip_header_translate JOIN(ip_header_translate, FAMILY)
#define l4_checksum_translate JOIN(l4_checksum_translate, FAMILY)
#define sctp_checksum_translate JOIN(sctp_checksum_translate, FAMILY)
#define packet_translate JOIN(packet_translate, FAMILY)

/* fragments.h */
#define fragment_key_init JOIN(fragment_key_init, FAMILY)
#define later_fragment_parse JOIN(later_fragment_parse, FAMILY)
#define fragment_parse JOIN(fragment_parse, FAMILY)
#define fragment_store JOIN(fragment_store, FAMILY)
#define fragment_translate JOIN(fragment_translate, FAMILY)

/* next_hop.h */
#define next_hop_slot JOIN(next_hop_slot, FAMILY)
#define next_hop_recall JOIN(next_hop_recall, FAMILY)
#define next_hop_store JOIN(next_hop_store, FAMILY)

/* forward.h */
#define route_lookup JOIN(route_lookup, FAMILY)
#define route_exists JOIN(route_exists, FAMILY)
#define next_hop_lookup JOIN(next_hop_lookup, FAMILY)
#define next_hop_reuse JOIN(next_hop_reuse, FAMILY)
#define is_masqueraded JOIN(is_masqueraded, FAMILY)
#define output_is_forwarded JOIN(output_is_forwarded, FAMILY)
#define output_has_macs JOIN(output_has_macs, FAMILY)
#define output_too_big JOIN(output_too_big, FAMILY)
#define output_by_route JOIN(output_by_route, FAMILY)
#define output_select JOIN(output_select, FAMILY)
#define packet_forward JOIN(packet_forward, FAMILY)

/* reject.h */
#define redirect_to_sender JOIN(redirect_to_sender, FAMILY)
#define ip_header_init JOIN(ip_header_init, FAMILY)
#define icmp_pseudo_header_sum JOIN(icmp_pseudo_header_sum, FAMILY)
#define icmp_port_unreachable JOIN(icmp_port_unreachable, FAMILY)
#define icmp_packet_too_big JOIN(icmp_packet_too_big, FAMILY)
#define icmp_error_send_quoting JOIN(icmp_error_send_quoting, FAMILY)
#define icmp_error_send JOIN(icmp_error_send, FAMILY)

/* icmp.h */
#define icmp_error_quoted_key JOIN(icmp_error_quoted_key, FAMILY)
#define icmp_error_translate_quoted JOIN(icmp_error_translate_quoted, FAMILY)
#define icmp_checksum_translate JOIN(icmp_checksum_translate, FAMILY)
#define icmp_error_rewrite JOIN(icmp_error_rewrite, FAMILY)
#define icmp_error_output JOIN(icmp_error_output, FAMILY)
#define icmp_error_translate JOIN(icmp_error_translate, FAMILY)

/* masquerade.h */
#define socket_receives_replies JOIN(socket_receives_replies, FAMILY)
#define random_source_port JOIN(random_source_port, FAMILY)
#define connection_init JOIN(connection_init, FAMILY)
#define reply_entry_create JOIN(reply_entry_create, FAMILY)
#define source_port_claim JOIN(source_port_claim, FAMILY)
#define connection_may_open_later JOIN(connection_may_open_later, FAMILY)
#define connection_create JOIN(connection_create, FAMILY)

/* sources.h */
#define source_is_frontend JOIN(source_is_frontend, FAMILY)
#define source_remember JOIN(source_remember, FAMILY)

/* path.h */
#define connection_is_reusable JOIN(connection_is_reusable, FAMILY)
#define connection_continue JOIN(connection_continue, FAMILY)
#define connection_is_established JOIN(connection_is_established, FAMILY)
#define connection_lookup JOIN(connection_lookup, FAMILY)
#define decide_direct JOIN(decide_direct, FAMILY)
#define decide_without_frontend JOIN(decide_without_frontend, FAMILY)
#define masquerade JOIN(masquerade, FAMILY)
#define decide_translation JOIN(decide_translation, FAMILY)
#define decide_new_connection JOIN(decide_new_connection, FAMILY)
#define stream_is_established JOIN(stream_is_established, FAMILY)
#define connection_may_be_recovered JOIN(connection_may_be_recovered, FAMILY)
#define connection_recover JOIN(connection_recover, FAMILY)
#define packet_concern JOIN(packet_concern, FAMILY)
#define process_forwarded JOIN(process_forwarded, FAMILY)
#define process_packet JOIN(process_packet, FAMILY)
