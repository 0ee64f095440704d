//! `/proc/net/ip_vs`: all destinations of all services in one text.
//!
//! Over netlink the destinations of each service have to be asked for one service at a time; with 10,000 services and
//! 100,000 destinations that takes nine times as long as reading this text. IPv4 services are read faster still (`sockopt`).
//! The text lacks thresholds, counters of traffic and the tunnel's type of a destination, none of which directway uses, and
//! it shows a *service's* persistence in jiffies and not its flags, so services are read over netlink
//! (`ip_vs_info_seq_show`, net/netfilter/ipvs/ip_vs_ctl.c).

use std::{
    io::{self, BufRead},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::model::{Connections, Destination, Forward, Protocol, ServiceKey};

use super::report::SeenDestination;

/// Where the kernel shows the table of this thread's network namespace.
pub const PATH: &str = "/proc/thread-self/net/ip_vs";

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A service; the destinations that follow are its own.
    Service(ServiceKey),
    /// A destination of the last service.
    Destination(ServiceKey, SeenDestination),
}

/// Reads the table line by line. Services by firewall mark are left out with their destinations.
///
/// The kernel shows a service as a whole in one call. Other programs may change the table between two reads and so hide
/// a service here or show it twice; the caller compares the entries with the list of services.
pub fn read(mut table: impl BufRead, mut take: impl FnMut(Entry)) -> io::Result<()> {
    let mut current = None;
    let mut line = String::new();
    while table.read_line(&mut line)? != 0 {
        if let Some(entry) = parse(&line, &mut current).ok_or_else(|| malformed(&line))? {
            take(entry);
        }
        line.clear();
    }
    Ok(())
}

fn malformed(line: &str) -> io::Error {
    io::Error::other(format!("a line is not understood: {:?}", line.trim_end()))
}

/// `None` for a line that is not understood, `Some(None)` for one that is of no interest.
fn parse(line: &str, current: &mut Option<ServiceKey>) -> Option<Option<Entry>> {
    let mut words = line.split_ascii_whitespace();
    let entry = match words.next() {
        None | Some("IP" | "Prot") => None,
        Some("FWM") => {
            *current = None;
            None
        }
        Some("->") => match words.next()? {
            "RemoteAddress:Port" => None,
            server => {
                let seen = destination(server, words)?;
                current.map(|key| Entry::Destination(key, seen))
            }
        },
        Some(protocol) => {
            let protocol = protocol.parse::<Protocol>().ok()?;
            let service = words.next().and_then(socket)?;
            let key = ServiceKey {
                vip: service.ip(),
                port: service.port(),
                protocol,
            };
            *current = Some(key);
            Some(Entry::Service(key))
        }
    };
    Some(entry)
}

fn destination<'a>(
    server: &str,
    mut words: impl Iterator<Item = &'a str>,
) -> Option<SeenDestination> {
    // ip_vs_fwd_name, include/net/ip_vs.h
    let forward = match words.next()? {
        "Route" => Forward::Direct,
        "Local" => Forward::Local,
        "Tunnel" => Forward::Tunnel,
        "Masq" => Forward::Masquerade,
        "Bypass" => Forward::Bypass,
        _ => return None,
    };
    // The kernel prints a weight as a signed number, and accepts any 32 bits for one.
    let weight = words.next()?.parse::<i32>().ok()?.cast_unsigned();
    let connections = Connections {
        active: words.next()?.parse().ok()?,
        inactive: words.next()?.parse().ok()?,
    };
    Some(SeenDestination {
        server: socket(server)?,
        destination: Destination { weight, forward },
        connections,
    })
}

/// `0A4D0064:0050` or `[fd00:0000:…:0001]:0050`: address and port, the port always hexadecimal.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let ip = match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(hexadecimal(address, 8)?)),
    };
    Some(SocketAddr::new(
        ip,
        u16::try_from(hexadecimal(port, 4)?).ok()?,
    ))
}

fn hexadecimal(text: &str, digits: usize) -> Option<u32> {
    // from_str_radix alone would take a sign
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A4D0064:0050 wrr  persistent 30000 FFFFFF00
  -> 0A4D000C:0050      Route   3      7          12        
  -> 0A4D000B:0051      Masq    0      0          0         
UDP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 rr ops 
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0035      Tunnel  1      0          0         
FWM  00000001 rr 
  -> 0A4D000C:0050      Route   1      0          0         
SCTP 0A4D0064:0050 mh 
";

    #[test]
    fn the_kernels_table_is_understood() {
        let key = |vip: &str, port, protocol| ServiceKey {
            vip: vip.parse().unwrap(),
            port,
            protocol,
        };
        let seen = |server: &str, forward, weight, active, inactive| SeenDestination {
            server: server.parse().unwrap(),
            destination: Destination { weight, forward },
            connections: Connections { active, inactive },
        };
        let (web, dns) = (
            key("10.77.0.100", 80, Protocol::Tcp),
            key("fd00::1", 53, Protocol::Udp),
        );
        let expected = [
            Entry::Service(web),
            Entry::Destination(web, seen("10.77.0.12:80", Forward::Direct, 3, 7, 12)),
            Entry::Destination(web, seen("10.77.0.11:81", Forward::Masquerade, 0, 0, 0)),
            Entry::Service(dns),
            Entry::Destination(dns, seen("[fd00::2]:53", Forward::Tunnel, 1, 0, 0)),
            Entry::Service(key("10.77.0.100", 80, Protocol::Sctp)),
        ];
        assert_eq!(entries(TEXT).unwrap(), expected);
    }

    fn entries(text: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        read(text.as_bytes(), |entry| entries.push(entry)).map(|()| entries)
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_that_shows_it() {
        for line in [
            "DCCP 0A4D0064:0050 rr",
            "TCP  0A4D0064 rr",
            "  -> 0A4D000C:0050 Warp 1 0 0",
            "TCP +A4D0064:0050 rr",
        ] {
            let error = entries(line).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_no_harm(text in r"(TCP|UDP|  ->|FWM|[ -~]{0,3}) ?[0-9A-F:+ a-z\n\[\]-]{0,60}") {
            let _ = entries(&text);
        }
    }
}
