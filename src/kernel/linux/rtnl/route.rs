//! Host routes of the main table, and how an address is reached.

use std::{net::IpAddr, num::NonZeroU32};

use netlink_packet_core::DecodeError;

use crate::model::{PROTOCOL_TAG, host_prefix};

use super::{AF_INET, AF_INET6, Attributes, Reply, Request, family_of, ip_of, u32_of};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const RT_TABLE_UNSPEC: u8 = 0;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
/// In a deletion: any scope.
const RT_SCOPE_NOWHERE: u8 = 255;
const RTN_UNSPEC: u8 = 0;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTM_F_CLONED: u32 = 0x200;

/// `struct rtmsg`.
const HEADER: usize = 12;
/// `struct rtnexthop`.
const NEXT_HOP: usize = 8;

fn header(family: u8, prefix: u8, table: u8, protocol: u8, scope: u8, kind: u8) -> [u8; HEADER] {
    [
        family, prefix, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0,
    ]
}

/// A route to one address, without a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRoute {
    /// The address.
    pub ip: IpAddr,
    /// The interface's index.
    pub index: u32,
    /// The program or protocol that added it (`RTPROT_*`).
    pub protocol: u8,
}

/// How the kernel would send to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// It is this node's own.
    Local,
    /// Directly out of an interface, without a gateway.
    OnLink {
        /// The interface's index.
        index: u32,
        /// The source address of packets to it.
        source: Option<IpAddr>,
    },
    /// Through a router, or not at all.
    Elsewhere,
}

/// Asks, as a dump, for the unicast routes of all tables and both families. By their type those of the local table are
/// left out, which has one for every VIP.
pub fn list() -> [Request; 2] {
    [AF_INET, AF_INET6].map(|family| {
        Request::new(
            RTM_GETROUTE,
            &header(family, 0, RT_TABLE_UNSPEC, 0, 0, RTN_UNICAST),
        )
    })
}

/// Adds a host route with our protocol number. To be sent with `NLM_F_CREATE | NLM_F_EXCL`.
pub fn add(index: NonZeroU32, ip: IpAddr) -> Request {
    let scope = if ip.is_ipv4() {
        RT_SCOPE_LINK
    } else {
        RT_SCOPE_UNIVERSE
    };
    change(RTM_NEWROUTE, index, ip, scope, RTN_UNICAST)
}

/// Removes a host route that carries our protocol number.
pub fn delete(index: NonZeroU32, ip: IpAddr) -> Request {
    let scope = if ip.is_ipv4() {
        RT_SCOPE_NOWHERE
    } else {
        RT_SCOPE_UNIVERSE
    };
    change(RTM_DELROUTE, index, ip, scope, RTN_UNSPEC)
}

fn change(message: u16, index: NonZeroU32, ip: IpAddr, scope: u8, kind: u8) -> Request {
    let header = header(
        family_of(ip),
        host_prefix(ip),
        RT_TABLE_MAIN,
        PROTOCOL_TAG,
        scope,
        kind,
    );
    Request::new(message, &header)
        .with_ip(RTA_DST, ip)
        .with(RTA_OIF, &index.get().to_ne_bytes())
}

/// Asks how `ip` is reached.
pub fn look_up(ip: IpAddr) -> Request {
    Request::new(
        RTM_GETROUTE,
        &header(family_of(ip), host_prefix(ip), 0, 0, 0, 0),
    )
    .with_ip(RTA_DST, ip)
}

#[derive(Default)]
struct Parsed {
    family: u8,
    prefix: u8,
    protocol: u8,
    kind: u8,
    cloned: bool,
    table: u32,
    destination: Option<IpAddr>,
    index: Option<u32>,
    source: Option<IpAddr>,
    via_router: bool,
    next_hops: Vec<IpAddr>,
}

fn parse(reply: &Reply) -> Result<Option<Parsed>, DecodeError> {
    if reply.kind != RTM_NEWROUTE {
        return Ok(None);
    }
    let (
        [
            family,
            prefix,
            _,
            _,
            table,
            protocol,
            _,
            kind,
            f0,
            f1,
            f2,
            f3,
        ],
        attributes,
    ) = reply.split::<HEADER>()?;
    let mut parsed = Parsed {
        family,
        prefix,
        protocol,
        kind,
        cloned: u32::from_ne_bytes([f0, f1, f2, f3]) & RTM_F_CLONED != 0,
        table: table.into(),
        ..Parsed::default()
    };
    for attribute in attributes.each() {
        let (attribute, value) = attribute?;
        match attribute {
            RTA_DST => parsed.destination = Some(ip_of("RTA_DST", value)?),
            RTA_OIF => parsed.index = Some(u32_of("RTA_OIF", value)?),
            RTA_PREFSRC => parsed.source = Some(ip_of("RTA_PREFSRC", value)?),
            RTA_TABLE => parsed.table = u32_of("RTA_TABLE", value)?,
            RTA_GATEWAY => {
                parsed.via_router = true;
                parsed.next_hops.push(ip_of("RTA_GATEWAY", value)?);
            }
            RTA_MULTIPATH => {
                parsed.via_router = true;
                next_hops(value, &mut parsed.next_hops)?;
            }
            RTA_VIA => parsed.via_router = true,
            _ => {}
        }
    }
    Ok(Some(parsed))
}

/// Adds the gateways of a route with several next hops: each is a `struct rtnexthop` with attributes behind it.
fn next_hops(mut value: &[u8], found: &mut Vec<IpAddr>) -> Result<(), DecodeError> {
    while let Some((header, _)) = value.split_first_chunk::<NEXT_HOP>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(attributes) = value.get(NEXT_HOP..length) else {
            return Err(format!("RTA_MULTIPATH has a next hop of {length} bytes").into());
        };
        for attribute in Attributes(attributes).each() {
            let (attribute, gateway) = attribute?;
            if attribute == RTA_GATEWAY {
                found.push(ip_of("RTA_GATEWAY", gateway)?);
            }
        }
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// What matters of one entry of a dump.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// A host route without a gateway in the main table.
    pub host_route: Option<HostRoute>,
    /// The gateways of a route of any table.
    pub next_hops: Vec<IpAddr>,
}

/// Reads one entry of a dump; `None` if nothing of it matters.
pub fn parse_listed(reply: &Reply) -> Result<Option<Listed>, DecodeError> {
    let Some(mut route) = parse(reply)? else {
        return Ok(None);
    };
    let listed = Listed {
        next_hops: std::mem::take(&mut route.next_hops),
        host_route: host_route(&route),
    };
    Ok((listed != Listed::default()).then_some(listed))
}

fn host_route(route: &Parsed) -> Option<HostRoute> {
    let (ip, index) = (route.destination?, route.index?);
    let wanted = route.table == u32::from(RT_TABLE_MAIN)
        && route.kind == RTN_UNICAST
        && route.family == family_of(ip)
        && route.prefix == host_prefix(ip)
        && !route.via_router
        && !route.cloned;
    wanted.then_some(HostRoute {
        ip,
        index,
        protocol: route.protocol,
    })
}

/// Reads the answer to [`look_up`].
pub fn parse_path(reply: &Reply) -> Result<Option<Path>, DecodeError> {
    Ok(parse(reply)?.map(|route| match (route.kind, route.index) {
        (RTN_LOCAL, _) => Path::Local,
        (RTN_UNICAST, Some(index)) if !route.via_router => Path::OnLink {
            index,
            source: route.source,
        },
        _ => Path::Elsewhere,
    }))
}
