//! The Linux kernel, spoken to over netlink and packet sockets. Needs CAP_NET_ADMIN and, for frames, CAP_NET_RAW.

pub mod ipvs;
pub mod netlink;
