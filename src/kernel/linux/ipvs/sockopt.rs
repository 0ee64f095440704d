//! IPVS's older interface, `getsockopt`: the destinations of one IPv4 service in one cheap call.
//!
//! Over netlink a dump has to be begun and ended for each service. `/proc/net/ip_vs` shows all at once, but the kernel walks
//! the table from its beginning for each 4 KiB of it (`ip_vs_info_array`, net/netfilter/ipvs/ip_vs_ctl.c), so the time grows
//! with the square of the number of services: with 10,000 it is most of the time for reading the kernel. The structures are
//! those of include/uapi/linux/ip_vs.h.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use socket2::{Domain, Socket, Type};

use crate::model::{Connections, Destination, Protocol, ServiceKey};

use super::report::{SeenDestination, forward_of};

/// `IP_VS_SO_GET_INFO`.
const GET_INFO: libc::c_int = 1153;
/// `IP_VS_SO_GET_SERVICES`.
const GET_SERVICES: libc::c_int = 1154;
/// `IP_VS_SO_GET_DESTS`.
const GET_DESTINATIONS: libc::c_int = 1156;

/// `struct ip_vs_getinfo`.
const INFO: usize = 12;
/// `struct ip_vs_get_services` without its entries, and one of these.
const SERVICES: usize = 8;
const SERVICE: usize = 104;
/// `struct ip_vs_get_dests` without its entries, and one of these.
const DESTINATIONS: usize = 24;
const DESTINATION: usize = 96;
/// More services than a node can have, in case the kernel's number is not one.
const MOST: usize = 1 << 20;

/// Reads tables of this thread's network namespace.
#[derive(Debug)]
pub struct Table {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Table {
    /// Needs no more rights than reading the table does.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV4, Type::DGRAM, None)?,
            buffer: Vec::new(),
        })
    }

    /// All IPv4 services by address, and how many destinations each of them has.
    pub fn services(&mut self) -> io::Result<HashMap<ServiceKey, usize>> {
        self.ask(GET_INFO, INFO, &[])?;
        let count = number(&self.buffer, 8).min(MOST);
        let header = u32::try_from(count).unwrap_or(u32::MAX).to_ne_bytes();
        self.ask(GET_SERVICES, SERVICES + count * SERVICE, &[(0, &header)])?;
        let entries = self.buffer.get(SERVICES..).unwrap_or_default();
        // The kernel leaves entries empty that it has no services for.
        Ok(entries.chunks_exact(SERVICE).filter_map(service).collect())
    }

    /// The destinations of a service that had this many; `None` if it has more by now, or some that this interface does
    /// not show, such as IPv6 ones behind a tunnel.
    pub fn destinations(
        &mut self,
        key: &ServiceKey,
        count: usize,
    ) -> io::Result<Option<Vec<SeenDestination>>> {
        let IpAddr::V4(vip) = key.vip else {
            return Ok(None);
        };
        // The kernel does not tell how many it has written; one entry more than needed shows whether it has more.
        let room = count + 1;
        let fields: [(usize, &[u8]); 4] = [
            (0, &u16::from(key.protocol.number()).to_ne_bytes()),
            (4, &vip.octets()),
            (8, &key.port.to_be_bytes()),
            (16, &u32::try_from(room).unwrap_or(u32::MAX).to_ne_bytes()),
        ];
        match self.ask(GET_DESTINATIONS, DESTINATIONS + room * DESTINATION, &fields) {
            // The service is gone.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(Some(Vec::new())),
            asked => asked?,
        }
        let entries = self.buffer.get(DESTINATIONS..).unwrap_or_default();
        let written = |entry: &&[u8]| entry.iter().any(|byte| *byte != 0);
        let written = entries.chunks_exact(DESTINATION).take_while(written);
        let seen: Vec<SeenDestination> = written.map(destination).collect();
        Ok((seen.len() == count).then_some(seen))
    }

    /// Asks with a structure of `length` bytes, zero but for `fields` at their offsets; the answer is in the buffer.
    #[allow(unsafe_code)]
    fn ask(
        &mut self,
        option: libc::c_int,
        length: usize,
        fields: &[(usize, &[u8])],
    ) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.resize(length, 0);
        for (offset, bytes) in fields {
            let field = self.buffer.iter_mut().skip(*offset);
            field.zip(*bytes).for_each(|(to, from)| *to = *from);
        }
        let mut length = libc::socklen_t::try_from(length).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes, because it refuses another length
        // than that of the structure with the number of entries in it (do_ip_vs_get_ctl).
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                self.buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// An entry of `struct ip_vs_get_services`; `None` for a firewall mark's, or of another protocol.
fn service(entry: &[u8]) -> Option<(ServiceKey, usize)> {
    let protocol = Protocol::from_number(u16::from_ne_bytes(bytes(entry, 0)))?;
    let key = ServiceKey {
        vip: Ipv4Addr::from(bytes::<4>(entry, 4)).into(),
        port: u16::from_be_bytes(bytes(entry, 8)),
        protocol,
    };
    let is_marked = number(entry, 12) != 0;
    (!is_marked).then(|| (key, number(entry, 44)))
}

/// `struct ip_vs_dest_entry`.
fn destination(entry: &[u8]) -> SeenDestination {
    let ip = Ipv4Addr::from(bytes::<4>(entry, 0));
    let number = |offset| u32::from_ne_bytes(bytes(entry, offset));
    SeenDestination {
        server: SocketAddr::new(ip.into(), u16::from_be_bytes(bytes(entry, 4))),
        destination: Destination {
            weight: number(12),
            forward: forward_of(number(8)),
        },
        connections: Connections {
            active: number(24),
            inactive: number(28),
        },
    }
}

fn number(from: &[u8], offset: usize) -> usize {
    usize::try_from(u32::from_ne_bytes(bytes(from, offset))).unwrap_or(usize::MAX)
}

/// `N` bytes at `offset`; zero where there are none.
fn bytes<const N: usize>(from: &[u8], offset: usize) -> [u8; N] {
    let part = from.get(offset..).and_then(<[u8]>::first_chunk);
    part.copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Forward;

    /// Writes `fields` at their offsets into an entry of `length` bytes.
    fn entry(length: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut entry = vec![0; length];
        for (offset, bytes) in fields {
            entry[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        entry
    }

    #[test]
    fn a_services_entry_is_understood() {
        let fields: [(usize, &[u8]); 4] = [
            (0, &17_u16.to_ne_bytes()),
            (4, &[10, 77, 0, 100]),
            (8, &53_u16.to_be_bytes()),
            (44, &3_u32.to_ne_bytes()),
        ];
        let key = ServiceKey {
            vip: IpAddr::from([10, 77, 0, 100]),
            port: 53,
            protocol: Protocol::Udp,
        };
        assert_eq!(service(&entry(SERVICE, &fields)), Some((key, 3)));
        let marked: [(usize, &[u8]); 2] = [(0, &[6, 0]), (12, &7_u32.to_ne_bytes())];
        assert_eq!(service(&entry(SERVICE, &marked)), None);
        assert_eq!(service(&entry(SERVICE, &[])), None);
    }

    #[test]
    fn a_destinations_entry_is_understood() {
        let fields: [(usize, &[u8]); 6] = [
            (0, &[10, 77, 0, 12]),
            (4, &8080_u16.to_be_bytes()),
            // IP_VS_CONN_F_DROUTE with another flag.
            (8, &0x0103_u32.to_ne_bytes()),
            (12, &5_u32.to_ne_bytes()),
            (24, &1_u32.to_ne_bytes()),
            (28, &2_u32.to_ne_bytes()),
        ];
        let seen = destination(&entry(DESTINATION, &fields));
        assert_eq!(seen.server, "10.77.0.12:8080".parse().unwrap());
        assert_eq!(seen.destination.weight, 5);
        assert_eq!(seen.destination.forward, Forward::Direct);
        assert_eq!((seen.connections.active, seen.connections.inactive), (1, 2));
    }
}
