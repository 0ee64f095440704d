//! Links, addresses and routes over rtnetlink.
//!
//! Only the few attributes that matter here are read, and all others are skipped undecoded, so that an exotic device
//! cannot keep a node from being observed.

pub mod address;
pub mod link;
pub mod route;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::DecodeError;

use super::{
    netlink::message::append_attribute,
    raw::{Attributes, Reply, Request, nest, number},
};

/// `AF_INET` of the kernel's ABI.
const AF_INET: u8 = 2;
/// `AF_INET6` of the kernel's ABI.
const AF_INET6: u8 = 10;

fn u32_of(name: &str, value: &[u8]) -> Result<u32, DecodeError> {
    let bytes = value
        .try_into()
        .map_err(|_| format!("{name} has {} bytes instead of 4", value.len()))?;
    Ok(u32::from_ne_bytes(bytes))
}

fn ip_of(name: &str, value: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    match <[u8; 16]>::try_from(value) {
        Ok(v6) => Ok(Ipv6Addr::from(v6).into()),
        Err(_) => Err(format!("{name} has {} bytes instead of 4 or 16", value.len()).into()),
    }
}

/// Text up to the first zero byte; invalid UTF-8 is replaced.
fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn family_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}
