//! Numbers of the kernel's netfilter interfaces that we use, named as in its headers.

pub(super) const NFNL_SUBSYS_CTNETLINK: u16 = 1;
pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
pub(super) const NFNL_MSG_BATCH_BEGIN: u16 = 16;
pub(super) const NFNL_MSG_BATCH_END: u16 = 17;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const NLA_F_NESTED: u16 = 0x8000;

pub(super) const NFPROTO_INET: u8 = 1;
pub(super) const NFPROTO_IPV4: u8 = 2;

// Messages
pub(super) const NEWTABLE: u16 = 0;
pub(super) const GETTABLE: u16 = 1;
pub(super) const DELTABLE: u16 = 2;
pub(super) const NEWCHAIN: u16 = 3;
pub(super) const GETCHAIN: u16 = 4;
pub(super) const DELCHAIN: u16 = 5;
pub(super) const NEWRULE: u16 = 6;
pub(super) const GETRULE: u16 = 7;
pub(super) const NEWSET: u16 = 9;
pub(super) const GETSET: u16 = 10;
pub(super) const NEWSETELEM: u16 = 12;
pub(super) const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;
pub(super) const NEWGEN: u16 = 15;
pub(super) const TRACE: u16 = 17;
/// The group that traces are reported to.
pub(super) const NFNLGRP_NFTRACE: u32 = 9;
/// The group of notifications.
pub(super) const NFNLGRP_NFTABLES: u32 = 7;

// Attributes, by the message or expression they belong to
pub(super) const TABLE_NAME: u16 = 1;
pub(super) const TABLE_FLAGS: u16 = 2;
pub(super) const TABLE_USERDATA: u16 = 6;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_HOOKNUM: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const RULE_USERDATA: u16 = 7;
pub(super) const LIST_ELEM: u16 = 1;
pub(super) const EXPR_NAME: u16 = 1;
pub(super) const EXPR_DATA: u16 = 2;
pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_FLAGS: u16 = 3;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_LEN: u16 = 5;
pub(super) const SET_DATA_TYPE: u16 = 6;
pub(super) const SET_DATA_LEN: u16 = 7;
pub(super) const SET_DESC: u16 = 9;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_DESC_SIZE: u16 = 1;
pub(super) const SET_DESC_CONCAT: u16 = 2;
pub(super) const SET_FIELD_LEN: u16 = 1;
pub(super) const SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const SET_ELEM_LIST_SET: u16 = 2;
pub(super) const SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const SET_ELEM_KEY: u16 = 1;
pub(super) const SET_ELEM_DATA: u16 = 2;
pub(super) const SET_ELEM_KEY_END: u16 = 10;
pub(super) const GEN_PROC_PID: u16 = 2;
pub(super) const GEN_PROC_NAME: u16 = 3;
/// In every message about an object of a table: the table's name.
pub(super) const ANY_TABLE: u16 = 1;
pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;
pub(super) const TRACE_TABLE: u16 = 1;
pub(super) const TRACE_CHAIN: u16 = 2;
pub(super) const TRACE_TYPE: u16 = 4;
pub(super) const TRACE_VERDICT: u16 = 5;
pub(super) const TRACE_ID: u16 = 6;
pub(super) const TRACE_POLICY: u16 = 16;

// Values
/// The table goes with the socket that made it.
pub(super) const TABLE_OWNER: u32 = 0x2;
/// What a trace is about: the policy, at the end of a chain.
pub(super) const TRACE_POLICY_STEP: u32 = 1;
pub(super) const SET_INTERVAL: u32 = 0x4;
pub(super) const SET_MAP: u32 = 0x8;
pub(super) const SET_TIMEOUT: u32 = 0x10;
pub(super) const SET_EVAL: u32 = 0x20;
pub(super) const SET_CONCAT: u32 = 0x80;
/// The data type of verdict maps.
pub(super) const DATA_IS_VERDICT: u32 = 0xffff_ff00;
pub(super) const NF_DROP: i32 = 0;
pub(super) const NF_ACCEPT: i32 = 1;
pub(super) const NFT_GOTO: i32 = -4;
pub(super) const HOOK_PREROUTING: u32 = 0;
pub(super) const HOOK_INPUT: u32 = 1;
pub(super) const HOOK_FORWARD: u32 = 2;
pub(super) const HOOK_OUTPUT: u32 = 3;
pub(super) const HOOK_POSTROUTING: u32 = 4;
pub(super) const PRIORITY_DSTNAT: i32 = -100;
pub(super) const PRIORITY_SRCNAT: i32 = 100;
/// The first of sixteen registers of four bytes.
pub(super) const REG32_00: u32 = 8;
pub(super) const REG_VERDICT: u32 = 0;
pub(super) const META_IIFNAME: u32 = 6;
pub(super) const META_OIFNAME: u32 = 7;
pub(super) const META_NFTRACE: u32 = 12;
pub(super) const META_L4PROTO: u32 = 16;
pub(super) const CT_STATUS: u32 = 2;
pub(super) const CT_PROTO_DST: u32 = 12;
pub(super) const CT_SRC_IP: u32 = 19;
pub(super) const CT_DST_IP: u32 = 20;
pub(super) const CT_DIR_ORIGINAL: u8 = 0;
pub(super) const IPS_DST_NAT: u32 = 1 << 5;
pub(super) const NETWORK_HEADER: u32 = 1;
pub(super) const TRANSPORT_HEADER: u32 = 2;
pub(super) const FIB_RESULT_ADDRTYPE: u32 = 3;
pub(super) const FIB_F_SADDR: u32 = 1;
pub(super) const RTN_LOCAL: u32 = 2;
pub(super) const NG_RANDOM: u32 = 1;
pub(super) const NAT_SNAT: u32 = 0;
pub(super) const NAT_DNAT: u32 = 1;
pub(super) const NAT_RANDOM_FULLY: u32 = 1 << 4;
pub(super) const DYNSET_UPDATE: u32 = 1;
pub(super) const DYNSET_DELETE: u32 = 2;
pub(super) const REJECT_ICMP_UNREACH: u32 = 0;
pub(super) const REJECT_TCP_RST: u32 = 1;
pub(super) const ICMP_PORT_UNREACH: u8 = 3;

// Connection tracking
pub(super) const CT_GET: u16 = 1;
pub(super) const CT_DELETE: u16 = 2;
pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_ID: u16 = 12;
pub(super) const CTA_FILTER: u16 = 25;
pub(super) const CTA_FILTER_ORIG_FLAGS: u16 = 1;
pub(super) const FILTER_IP_DST: u32 = 1 << 1;
pub(super) const FILTER_PROTO_NUM: u32 = 1 << 3;
pub(super) const FILTER_PROTO_DST_PORT: u32 = 1 << 5;
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
