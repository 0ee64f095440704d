//! Addresses on interfaces.

use std::{net::IpAddr, num::NonZeroU32};

use netlink_packet_core::DecodeError;

use crate::model::{PROTOCOL_TAG, host_prefix};

use super::{Reply, Request, family_of, ip_of, u32_of};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
/// Since Linux 5.18; older kernels ignore it.
const IFA_PROTO: u16 = 11;

/// No duplicate address detection by the kernel, which would keep an IPv6 VIP unusable for a second.
const IFA_F_NODAD: u8 = 0x02;
const FOREVER: u32 = u32::MAX;

/// `struct ifaddrmsg`.
const HEADER: usize = 8;

fn header(ip: IpAddr, flags: u8, index: u32) -> [u8; HEADER] {
    let [a, b, c, d] = index.to_ne_bytes();
    [family_of(ip), host_prefix(ip), flags, 0, a, b, c, d]
}

/// An address that the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenAddress {
    /// The interface's index.
    pub index: u32,
    /// The address itself, not a peer's.
    pub ip: IpAddr,
    /// The length of the network prefix in bits.
    pub prefix: u8,
    /// `IFA_PROTO`, 0 where there is none.
    pub protocol: u8,
    /// Seconds until the kernel removes it; `None` = never.
    pub valid_seconds: Option<u32>,
}

/// Asks, as a dump, for all addresses.
pub fn list() -> Request {
    Request::new(RTM_GETADDR, &[0; HEADER])
}

/// Adds a host-sized address with our protocol number. To be sent with `NLM_F_CREATE | NLM_F_EXCL`, or with
/// `NLM_F_CREATE | NLM_F_REPLACE` to give it another lifetime.
///
/// `valid_seconds` is how long the kernel keeps it; `None` = for ever.
pub fn add(index: NonZeroU32, ip: IpAddr, valid_seconds: Option<u32>) -> Request {
    let flags = if ip.is_ipv6() { IFA_F_NODAD } else { 0 };
    let request = Request::new(RTM_NEWADDR, &header(ip, flags, index.get()))
        .with_ip(IFA_LOCAL, ip)
        .with_ip(IFA_ADDRESS, ip)
        .with(IFA_PROTO, &[PROTOCOL_TAG]);
    // Preferred lifetime 0 keeps an IPv6 VIP from being chosen as the source of the node's own connections.
    let preferred = if ip.is_ipv6() {
        0
    } else {
        valid_seconds.unwrap_or(FOREVER)
    };
    if ip.is_ipv4() && valid_seconds.is_none() {
        return request;
    }
    let mut lifetimes = [0; 16];
    lifetimes[..4].copy_from_slice(&preferred.to_ne_bytes());
    lifetimes[4..8].copy_from_slice(&valid_seconds.unwrap_or(FOREVER).to_ne_bytes());
    request.with(IFA_CACHEINFO, &lifetimes)
}

/// Removes a host-sized address.
pub fn delete(index: NonZeroU32, ip: IpAddr) -> Request {
    Request::new(RTM_DELADDR, &header(ip, 0, index.get()))
        .with_ip(IFA_LOCAL, ip)
        .with_ip(IFA_ADDRESS, ip)
}

/// Reads one entry of a dump; `None` for anything but an IP address.
pub fn parse(reply: &Reply) -> Result<Option<SeenAddress>, DecodeError> {
    if reply.kind != RTM_NEWADDR {
        return Ok(None);
    }
    let ([family, prefix, _, _, i0, i1, i2, i3], attributes) = reply.split::<HEADER>()?;
    if family != super::AF_INET && family != super::AF_INET6 {
        return Ok(None);
    }
    let (mut address, mut local, mut protocol, mut valid_seconds) = (None, None, 0, None);
    for attribute in attributes.each() {
        let (attribute, value) = attribute?;
        match attribute {
            IFA_ADDRESS => address = Some(ip_of("IFA_ADDRESS", value)?),
            // With a peer, IFA_ADDRESS is the peer's; IPv6 without a peer has no IFA_LOCAL.
            IFA_LOCAL => local = Some(ip_of("IFA_LOCAL", value)?),
            IFA_CACHEINFO => {
                let valid = u32_of("IFA_CACHEINFO", value.get(4..8).unwrap_or_default())?;
                valid_seconds = (valid != FOREVER).then_some(valid);
            }
            IFA_PROTO => protocol = value.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    let ip = local
        .or(address)
        .ok_or("an address message without an address")?;
    Ok(Some(SeenAddress {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        ip,
        prefix,
        protocol,
        valid_seconds,
    }))
}
