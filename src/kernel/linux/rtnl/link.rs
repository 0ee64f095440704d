//! Network interfaces, and their ARP settings.

use std::num::NonZeroU32;

use netlink_packet_core::DecodeError;

use crate::model::{Arp, ArpSettings, Dev, Link, LinkKind, Mac};

use super::{AF_INET, Attributes, Reply, Request, nest, number, text_of, u32_of};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// Inside `IFLA_AF_SPEC` / `AF_INET`: all of an interface's IPv4 settings as an array of numbers in a dump, single ones as
/// attributes in a request (`inet_fill_link_af`, `inet_set_link_af`, net/ipv4/devinet.c).
const IFLA_INET_CONF: u16 = 1;
/// Numbered from 1, include/uapi/linux/ip.h.
const IPV4_DEVCONF_ARP_ANNOUNCE: u16 = 18;
const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_NOARP: u32 = 0x80;
const IFF_LOWER_UP: u32 = 0x1_0000;
const ARPHRD_ETHER: u16 = 1;

/// `struct ifinfomsg`.
const HEADER: usize = 16;

fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Asks, as a dump, for all interfaces.
pub fn list() -> Request {
    Request::new(RTM_GETLINK, &header(0, 0, 0))
}

/// Creates a dummy device that is up. To be sent with `NLM_F_CREATE | NLM_F_EXCL`.
pub fn add_dummy(dev: &Dev) -> Request {
    let mut kind = Vec::new();
    super::append_attribute(&mut kind, IFLA_INFO_KIND, b"dummy\0");
    Request::new(RTM_NEWLINK, &header(0, IFF_UP, IFF_UP))
        .with(IFLA_IFNAME, &name(dev))
        .with(IFLA_LINKINFO | netlink_packet_core::NLA_F_NESTED, &kind)
}

/// Deletes a device.
pub fn delete(index: NonZeroU32) -> Request {
    Request::new(RTM_DELLINK, &header(index.get(), 0, 0))
}

/// Sets one ARP value of an interface. Needs CAP_NET_ADMIN, but no writable /proc/sys.
pub fn set_arp(index: NonZeroU32, which: Arp, value: u32) -> Request {
    let setting = match which {
        Arp::Ignore => IPV4_DEVCONF_ARP_IGNORE,
        Arp::Announce => IPV4_DEVCONF_ARP_ANNOUNCE,
    };
    let inet = nest(
        AF_INET.into(),
        &nest(IFLA_INET_CONF, &number(setting, value)),
    );
    Request::new(RTM_SETLINK, &header(index.get(), 0, 0))
        .with(IFLA_AF_SPEC | netlink_packet_core::NLA_F_NESTED, &inet)
}

fn name(dev: &Dev) -> Vec<u8> {
    let mut name = dev.as_str().as_bytes().to_vec();
    name.push(0);
    name
}

/// Reads one entry of a dump; `None` for an interface whose name is no valid [`Dev`].
pub fn parse(reply: &Reply) -> Result<Option<Link>, DecodeError> {
    if reply.kind != RTM_NEWLINK {
        return Ok(None);
    }
    let (header, attributes) = reply.split::<HEADER>()?;
    let [_, _, t0, t1, i0, i1, i2, i3, f0, f1, f2, f3, ..] = header;
    let hardware = u16::from_ne_bytes([t0, t1]);
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let (mut dev, mut mac, mut has_master) = (None, None, false);
    let (mut kind, mut port_of) = (String::new(), String::new());
    let mut arp = ArpSettings::default();
    for attribute in attributes.each() {
        let (attribute, value) = attribute?;
        match attribute {
            IFLA_IFNAME => dev = text_of(value).parse::<Dev>().ok(),
            IFLA_ADDRESS => mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            IFLA_MASTER => has_master = u32_of("IFLA_MASTER", value)? != 0,
            IFLA_LINKINFO => {
                let info = Attributes(value);
                kind = info.find(IFLA_INFO_KIND).map(text_of).unwrap_or_default();
                port_of = info
                    .find(IFLA_INFO_SLAVE_KIND)
                    .map(text_of)
                    .unwrap_or_default();
            }
            IFLA_AF_SPEC => arp = arp_settings(Attributes(value)),
            _ => {}
        }
    }
    let ethernet = hardware == ARPHRD_ETHER;
    Ok(dev.map(|dev| Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        dev,
        mac: mac.filter(|_| ethernet),
        kind: if flags & IFF_LOOPBACK != 0 {
            LinkKind::Loopback
        } else if kind == "dummy" {
            LinkKind::Dummy
        } else {
            LinkKind::Other
        },
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        arp_capable: ethernet && flags & IFF_NOARP == 0,
        // A member of a VRF has a master too, but still receives its packets itself.
        enslaved: has_master && port_of != "vrf",
        addresses: Vec::new(),
        arp,
    }))
}

/// All zero for an interface without IPv4 (too small an MTU), which has no settings and no ARP.
fn arp_settings(specifics: Attributes<'_>) -> ArpSettings {
    let values = specifics
        .find(AF_INET.into())
        .and_then(|inet| Attributes(inet).find(IFLA_INET_CONF))
        .unwrap_or_default();
    let value = |setting: u16| {
        let start = (usize::from(setting) - 1) * 4;
        values
            .get(start..start + 4)
            .and_then(|bytes| u32_of("IFLA_INET_CONF", bytes).ok())
            .unwrap_or_default()
    };
    ArpSettings {
        ignore: value(IPV4_DEVCONF_ARP_IGNORE),
        announce: value(IPV4_DEVCONF_ARP_ANNOUNCE),
    }
}
