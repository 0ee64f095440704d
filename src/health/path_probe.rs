//! The frames of the check of the direct path: a SYN as a client's would reach the real server, its answer, and the RST that
//! ends what the SYN began (RFC 9293 3.5).

use std::{net::Ipv4Addr, ops::RangeInclusive};

use super::Path;

/// The ports that probes come from: above those that Linux gives to connections (`net.ipv4.ip_local_port_range`).
pub const SOURCE_PORTS: RangeInclusive<u16> = 61_000..=65_535;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_TCP: u8 = 6;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A connection that is begun and not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// From this director to the real server.
    pub path: Path,
    /// One of [`SOURCE_PORTS`].
    pub source_port: u16,
    /// The VIP.
    pub vip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// The first sequence number, by which the answer is known: hosts that cannot see the SYN cannot guess it.
    pub sequence: u32,
}

/// What a real server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The VIP and the port that it speaks for.
    pub vip: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The probe's address.
    pub to: Ipv4Addr,
    /// The probe's port.
    pub to_port: u16,
    /// What it says.
    pub kind: AnswerKind,
    /// The next sequence number that it expects.
    pub acknowledged: u32,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// The port is open.
    Open,
    /// It is closed.
    Closed,
}

impl Probe {
    /// The frame that begins the connection.
    pub fn syn(&self) -> Vec<u8> {
        self.segment(self.sequence, SYN)
    }

    /// The frame that ends what the SYN began, so that the real server does not repeat its answer for a minute.
    pub fn reset(&self) -> Vec<u8> {
        self.segment(self.sequence.wrapping_add(1), RST)
    }

    /// Whether `answer` is one to this probe.
    pub fn is_answered_by(&self, answer: &Answer) -> bool {
        (answer.vip, answer.port) == (self.vip, self.port)
            && (answer.to, answer.to_port) == (self.path.source, self.source_port)
            && answer.acknowledged == self.sequence.wrapping_add(1)
    }

    fn segment(&self, sequence: u32, flags: u8) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(TCP);
        tcp.extend(self.source_port.to_be_bytes());
        tcp.extend(self.port.to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend(0_u32.to_be_bytes());
        // The header's length in words of four bytes, then the flags; a window for the answer; no checksum yet.
        tcp.extend([5 << 4, flags]);
        tcp.extend(1024_u16.to_be_bytes());
        tcp.extend([0; 4]);
        let mut pseudo = Vec::with_capacity(12 + TCP);
        pseudo.extend(self.path.source.octets());
        pseudo.extend(self.vip.octets());
        pseudo.extend([0, PROTOCOL_TCP, 0, TCP as u8]);
        pseudo.extend(&tcp);
        put(&mut tcp, 16, checksum(&pseudo));

        let mut ip = Vec::with_capacity(IPV4);
        ip.extend([0x45, 0]);
        ip.extend(((IPV4 + TCP) as u16).to_be_bytes());
        // No identification is needed where fragments are forbidden (RFC 6864).
        ip.extend([0, 0, 0x40, 0, 64, PROTOCOL_TCP, 0, 0]);
        ip.extend(self.path.source.octets());
        ip.extend(self.vip.octets());
        let sum = checksum(&ip);
        put(&mut ip, 10, sum);

        let mut frame = Vec::with_capacity(ETHERNET + IPV4 + TCP);
        frame.extend(self.path.to.0);
        frame.extend(self.path.from.0);
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend(ip);
        frame.extend(tcp);
        frame
    }
}

impl Answer {
    /// Reads a frame; `None` if it is nothing that answers a SYN.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET..)?;
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let is_ipv4 = packet.first()? >> 4 == 4 && header >= IPV4;
        let is_whole = number(packet, 6)? & 0x1fff == 0;
        if !is_ipv4 || !is_whole || *packet.get(9)? != PROTOCOL_TCP {
            return None;
        }
        let tcp = packet.get(header..)?;
        let flags = *tcp.get(13)?;
        let kind = match flags & (FIN | SYN | RST | ACK) {
            it if it == SYN | ACK => AnswerKind::Open,
            it if it & RST != 0 => AnswerKind::Closed,
            _ => return None,
        };
        Some(Self {
            vip: address(packet, 12)?,
            port: number(tcp, 0)?,
            to: address(packet, 16)?,
            to_port: number(tcp, 2)?,
            kind,
            acknowledged: (u32::from(number(tcp, 8)?) << 16) | u32::from(number(tcp, 10)?),
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The checksum of the Internet protocols (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let mut sum: u32 = words
        .map(|word| {
            let high = word.first().copied().unwrap_or_default();
            let low = word.get(1).copied().unwrap_or_default();
            u32::from(u16::from_be_bytes([high, low]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Mac;

    fn probe() -> Probe {
        Probe {
            path: Path {
                index: 2,
                from: Mac([2, 0, 0, 0, 0, 1]),
                to: Mac([2, 0, 0, 0, 0, 2]),
                source: [10, 77, 0, 11].into(),
            },
            source_port: 61_007,
            vip: [10, 77, 0, 100].into(),
            port: 80,
            sequence: u32::MAX,
        }
    }

    /// The frame that a host sends in answer to `probe`.
    fn answer_to(probe: &Probe, flags: u8) -> Vec<u8> {
        let mut frame = Probe {
            path: Path {
                index: 2,
                from: probe.path.to,
                to: probe.path.from,
                source: probe.vip,
            },
            source_port: probe.port,
            vip: probe.path.source,
            port: probe.source_port,
            sequence: 99,
        }
        .segment(99, flags);
        let acknowledged = probe.sequence.wrapping_add(1).to_be_bytes();
        frame[ETHERNET + IPV4 + 8..ETHERNET + IPV4 + 12].copy_from_slice(&acknowledged);
        frame
    }

    #[test]
    fn a_syn_is_what_a_client_would_send() {
        let frame = probe().syn();
        assert_eq!(frame.len(), 54);
        assert_eq!(&frame[..6], &[2, 0, 0, 0, 0, 2]);
        // A sum over data with a correct checksum is zero.
        assert_eq!(checksum(&frame[ETHERNET..ETHERNET + IPV4]), 0);
        let mut pseudo = frame[ETHERNET + 12..ETHERNET + IPV4].to_vec();
        pseudo.extend([0, PROTOCOL_TCP, 0, TCP as u8]);
        pseudo.extend(&frame[ETHERNET + IPV4..]);
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(frame[ETHERNET + IPV4 + 13], SYN);
        assert_eq!(Answer::read(&frame), None, "its own SYN is no answer");
        assert_eq!(probe().reset()[38..42], [0, 0, 0, 0], "the next number");
    }

    #[test]
    fn a_syn_ack_and_a_rst_answer_their_probe_only() {
        let probe = probe();
        for (flags, kind) in [
            (SYN | ACK, AnswerKind::Open),
            (RST | ACK, AnswerKind::Closed),
        ] {
            let answer = Answer::read(&answer_to(&probe, flags)).unwrap();
            assert_eq!(answer.kind, kind);
            assert!(probe.is_answered_by(&answer));
            let others = [
                Probe {
                    sequence: 5,
                    ..probe
                },
                Probe { port: 443, ..probe },
                Probe {
                    source_port: 61_008,
                    ..probe
                },
                Probe {
                    vip: [10, 77, 0, 101].into(),
                    ..probe
                },
            ];
            for other in others {
                assert!(!other.is_answered_by(&answer), "{other:?}");
            }
        }
        assert_eq!(Answer::read(&answer_to(&probe, ACK)), None);
        assert_eq!(Answer::read(&answer_to(&probe, FIN | ACK)), None);
    }

    proptest! {
        #[test]
        fn no_frame_is_too_strange(frame in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Answer::read(&frame);
        }

        #[test]
        fn a_cut_answer_is_none(length in 0_usize..53) {
            let frame = answer_to(&probe(), SYN | ACK);
            let cut = Answer::read(&frame[..length]);
            prop_assert!(cut.is_none() || length >= 48);
        }
    }
}
