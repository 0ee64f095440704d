//! ARP for IPv4 over Ethernet (RFC 826), with the probe of RFC 5227 and the gratuitous ARP of RFC 5944.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Mac;

use super::{AddressResolution, Frame, Meaning, Message, Received, Request, Sender};

/// `ETH_P_ARP`.
const ETHERTYPE: u16 = 0x0806;
/// Length of a frame without padding: Ethernet header and ARP packet.
const FRAME_LENGTH: usize = 42;

const BROADCAST: Mac = Mac([0xff; 6]);
const UNKNOWN: Mac = Mac([0; 6]);
/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Address resolution for IPv4.
#[derive(Debug)]
pub struct Arp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Request,
    Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    /// The destination MAC of the Ethernet frame.
    destination: Mac,
    operation: Operation,
    sender_mac: Mac,
    /// 0.0.0.0 in a probe.
    sender_ip: Ipv4Addr,
    /// All zero in a request; in a gratuitous reply, the sender's.
    target_mac: Mac,
    target_ip: Ipv4Addr,
}

impl AddressResolution for Arp {
    fn name(&self) -> &'static str {
        "ARP"
    }

    fn ethertype(&self) -> u16 {
        ETHERTYPE
    }

    fn encode(&self, from: Mac, own: Option<IpAddr>, message: &Message) -> Option<Vec<Frame>> {
        match *message {
            Message::Announce(ip) => Some(announcement(from, v4(ip)?).map(Packet::bytes).to_vec()),
            Message::Request(Request { about, to, sender }) => {
                let sender_ip = match sender {
                    Sender::Unspecified => Ipv4Addr::UNSPECIFIED,
                    Sender::Own => v4(own?)?,
                };
                let packet = Packet {
                    destination: to.unwrap_or(BROADCAST),
                    operation: Operation::Request,
                    sender_mac: from,
                    sender_ip,
                    target_mac: UNKNOWN,
                    target_ip: v4(about)?,
                };
                Some(vec![packet.bytes()])
            }
        }
    }

    fn decode(&self, own: Mac, frame: &[u8]) -> Option<Received> {
        let packet = Packet::parse(frame)?;
        let some = |ip: Ipv4Addr| (!ip.is_unspecified()).then_some(IpAddr::V4(ip));
        Some(Received {
            from: packet.sender_mac,
            has: some(packet.sender_ip),
            meaning: match packet.operation {
                Operation::Request => Meaning::Request(IpAddr::V4(packet.target_ip)),
                Operation::Reply => Meaning::Reply(some(packet.target_ip)),
            },
            to_us: packet.destination == own,
        })
    }
}

/// Both forms of a gratuitous ARP (RFC 5944 section 4.6): a request and a reply, each to all hosts. Hosts should learn from
/// either (RFC 826), but some learn from one only. The request, the announcement of RFC 5227, comes first, because most learn
/// from it: section 3 there warns that some do not expect a reply by broadcast. Some switches, firewalls and hypervisors
/// learn from a reply only.
///
/// The reply's target MAC is the sender's, as RFC 5944 has it. Linux takes a reply with another one for an answer to
/// somebody else, and then keeps an entry that is younger than `locktime`, a second (`arp_is_garp` and `arp_process`,
/// net/ipv4/arp.c).
fn announcement(from: Mac, ip: Ipv4Addr) -> [Packet; 2] {
    let request = Packet {
        destination: BROADCAST,
        operation: Operation::Request,
        sender_mac: from,
        sender_ip: ip,
        target_mac: UNKNOWN,
        target_ip: ip,
    };
    let reply = Packet {
        operation: Operation::Reply,
        target_mac: from,
        ..request
    };
    [request, reply]
}

impl Packet {
    fn bytes(self) -> Frame {
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let parts: [&[u8]; 9] = [
            &self.destination.0,
            &self.sender_mac.0,
            &ETHERTYPE.to_be_bytes(),
            &PREFIX,
            &[0, operation],
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ];
        parts.concat()
    }

    fn parse(frame: &[u8]) -> Option<Self> {
        let frame = frame.first_chunk::<FRAME_LENGTH>()?;
        let (ethernet, arp) = frame.split_at(14);
        if ethernet[12..] != ETHERTYPE.to_be_bytes() || arp[..6] != PREFIX {
            return None;
        }
        let operation = match arp[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let packet = Self {
            destination: mac(&ethernet[..6])?,
            operation,
            sender_mac: mac(&arp[8..14])?,
            sender_ip: ip(&arp[14..18])?,
            target_mac: mac(&arp[18..24])?,
            target_ip: ip(&arp[24..28])?,
        };
        let is_group = packet.sender_mac.0[0] & 1 == 1;
        (!is_group && packet.sender_mac != UNKNOWN).then_some(packet)
    }
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn ip(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 188, 120);
    const REPLY: Packet = Packet {
        destination: US,
        operation: Operation::Reply,
        sender_mac: THEM,
        sender_ip: VIP,
        target_mac: US,
        target_ip: Ipv4Addr::UNSPECIFIED,
    };

    #[test]
    fn a_probe_is_the_frame_of_rfc_5227() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6,
            0, 1, 8, 0, 6, 4, 0, 1,
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 192, 168, 188, 120,
        ];
        let probe = Message::Request(Request {
            about: VIP.into(),
            to: None,
            sender: Sender::Unspecified,
        });
        assert_eq!(Arp.encode(US, None, &probe).unwrap(), [expected]);
    }

    #[test]
    fn an_announcement_is_the_request_and_the_reply_of_rfc_5944() {
        #[rustfmt::skip]
        let request = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6,
            0, 1, 8, 0, 6, 4, 0, 1,
            2, 0, 0, 0, 0, 1, 192, 168, 188, 120,
            0, 0, 0, 0, 0, 0, 192, 168, 188, 120,
        ];
        #[rustfmt::skip]
        let reply = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6,
            0, 1, 8, 0, 6, 4, 0, 2,
            2, 0, 0, 0, 0, 1, 192, 168, 188, 120,
            2, 0, 0, 0, 0, 1, 192, 168, 188, 120,
        ];
        let frames = Arp.encode(US, None, &Message::Announce(VIP.into()));
        assert_eq!(frames.unwrap(), [request, reply]);
    }

    #[test]
    fn an_answer_repeats_who_asked() {
        let heard = |packet: Packet| Arp.decode(US, &packet.bytes()).unwrap();
        let answer = heard(REPLY);
        assert_eq!(answer.meaning, Meaning::Reply(None), "of a probe");
        assert!(answer.to_us);
        assert_eq!(answer.claims(), Some(VIP.into()));
        let own = Ipv4Addr::new(192, 168, 188, 1);
        let answer = heard(Packet {
            target_ip: own,
            ..REPLY
        });
        assert_eq!(answer.meaning, Meaning::Reply(Some(own.into())));
    }

    #[test]
    fn padding_is_ignored_and_whatever_is_not_exact_is_refused() {
        let mut padded = REPLY.bytes();
        padded.resize(60, 0xaa);
        assert_eq!(Packet::parse(&padded), Some(REPLY));
        assert_eq!(Packet::parse(&padded[..41]), None);
        // EtherType, hardware, protocol, their lengths, operation; a group address as the sender's MAC
        for (at, value) in [
            (13, 0),
            (15, 6),
            (16, 0x86),
            (18, 8),
            (19, 16),
            (21, 3),
            (20, 1),
            (22, 3),
        ] {
            let mut bad = REPLY.bytes();
            bad[at] = value;
            assert_eq!(Packet::parse(&bad), None, "byte {at} = {value}");
        }
        let nobody = Packet {
            sender_mac: UNKNOWN,
            ..REPLY
        };
        assert_eq!(Packet::parse(&nobody.bytes()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_frames_do_no_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), arp: bool) {
            // Random bytes are hardly ever ARP, so half of the frames begin like an ARP packet.
            if let Some(start) = bytes.get_mut(12..22).filter(|_| arp) {
                start.copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + start[9] % 2]);
            }
            if let Some(packet) = Packet::parse(&bytes) {
                let again = packet.bytes();
                prop_assert_eq!(&again[..6], &bytes[..6]);
                prop_assert_eq!(&again[12..], &bytes[12..FRAME_LENGTH]);
            }
        }
    }
}
