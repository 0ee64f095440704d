//! Values that several IPVS attributes share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DecodeError, NLA_HEADER_SIZE, NlaBuffer};

// Numbers of the kernel's ABI, the same on every architecture.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `union nf_inet_addr`: always 16 bytes, an IPv4 address in the first four. The family is in another attribute.
pub type Address = [u8; 16];

/// `address` as messages contain it.
pub fn address_bytes(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// `AF_INET` or `AF_INET6`.
pub fn family_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// The address in `bytes` for an address family of the kernel; `None` for a family that is no IP.
pub(super) fn address_of(family: u16, bytes: Address) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    match family {
        AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// The value of `nla`, with the lifetime of the buffer rather than of `nla`.
pub(super) fn contents<'a>(nla: &NlaBuffer<&'a [u8]>) -> &'a [u8] {
    (*nla)
        .into_inner()
        .get(NLA_HEADER_SIZE..usize::from(nla.length()))
        .unwrap_or_default()
}

/// The value as exactly `N` bytes.
pub(super) fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value
        .try_into()
        .map_err(|_| DecodeError::from(format!("expected {N} bytes, got {}", value.len())))
}

/// A number in the machine's byte order.
pub(super) fn u16_of(value: &[u8]) -> Result<u16, DecodeError> {
    exact(value).map(u16::from_ne_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u32_of(value: &[u8]) -> Result<u32, DecodeError> {
    exact(value).map(u32::from_ne_bytes)
}

/// A string that may or may not end with a zero byte; invalid UTF-8 is replaced.
pub(super) fn string_of(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Writes `text` and a zero byte.
pub(super) fn emit_string(text: &str, buffer: &mut [u8]) {
    buffer[..text.len()].copy_from_slice(text.as_bytes());
    buffer[text.len()] = 0;
}
