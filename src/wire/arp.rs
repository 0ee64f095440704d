//! ARP for IPv4 over Ethernet (RFC 826), with the probe and the announcement of RFC 5227.

use std::net::Ipv4Addr;

use crate::model::Mac;

/// `ETH_P_ARP`.
pub const ETHERTYPE: u16 = 0x0806;
/// Length of a frame without padding: Ethernet header and ARP packet. The kernel and the NIC pad it to Ethernet's minimum.
pub const FRAME_LENGTH: usize = 42;

const BROADCAST: Mac = Mac([0xff; 6]);
const UNKNOWN: Mac = Mac([0; 6]);
/// Ethernet, IPv4, six and four bytes.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks who has the target's address.
    Request,
    /// Answers.
    Reply,
}

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// Who sends it.
    pub sender_mac: Mac,
    /// The sender's address; 0.0.0.0 in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom it is about; all zero in a request.
    pub target_mac: Mac,
    /// The address in question.
    pub target_ip: Ipv4Addr,
}

/// A frame to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Who shall receive it.
    pub destination: Mac,
    /// What it says.
    pub packet: Packet,
}

impl Frame {
    /// Asks everybody whether `ip` is in use, without claiming anything (RFC 5227 section 2.1.1).
    pub fn probe(from: Mac, ip: Ipv4Addr) -> Self {
        Self::question(from, None, ip, None)
    }

    /// Asks everybody who has `ip`, as the owner of `own_ip`.
    pub fn resolve(from: Mac, own_ip: Ipv4Addr, ip: Ipv4Addr) -> Self {
        Self::question(from, Some(own_ip), ip, None)
    }

    /// Tells everybody that `ip` is here (RFC 5227 section 2.3): a request for one's own address, which updates caches.
    pub fn announcement(from: Mac, ip: Ipv4Addr) -> Self {
        Self::question(from, Some(ip), ip, None)
    }

    /// Asks `to`, or everybody, who has `ip`, as the owner of `own_ip`; without one it claims nothing.
    pub fn question(from: Mac, own_ip: Option<Ipv4Addr>, ip: Ipv4Addr, to: Option<Mac>) -> Self {
        let packet = Packet {
            operation: Operation::Request,
            sender_mac: from,
            sender_ip: own_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            target_mac: UNKNOWN,
            target_ip: ip,
        };
        Self {
            destination: to.unwrap_or(BROADCAST),
            packet,
        }
    }

    /// The bytes to send.
    pub fn bytes(&self) -> [u8; FRAME_LENGTH] {
        let operation = match self.packet.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let mut bytes = [0; FRAME_LENGTH];
        let parts: [&[u8]; 9] = [
            &self.destination.0,
            &self.packet.sender_mac.0,
            &ETHERTYPE.to_be_bytes(),
            &PREFIX,
            &[0, operation],
            &self.packet.sender_mac.0,
            &self.packet.sender_ip.octets(),
            &self.packet.target_mac.0,
            &self.packet.target_ip.octets(),
        ];
        let mut rest = bytes.as_mut_slice();
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        bytes
    }
}

impl Frame {
    /// Reads a received frame. `None` for everything that is not well-formed ARP for IPv4 over Ethernet, and for a sender
    /// that no host can have: anybody on the segment may send us anything.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = Packet::parse(frame)?;
        let destination = mac(frame.get(..6)?)?;
        Some(Self {
            destination,
            packet,
        })
    }
}

impl Packet {
    /// The packet in a received frame; see [`Frame::parse`].
    pub fn parse(frame: &[u8]) -> Option<Self> {
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
            operation,
            sender_mac: mac(&arp[8..14])?,
            sender_ip: ip(&arp[14..18])?,
            target_mac: mac(&arp[18..24])?,
            target_ip: ip(&arp[24..28])?,
        };
        let is_group = packet.sender_mac.0[0] & 1 == 1;
        (!is_group && packet.sender_mac != UNKNOWN).then_some(packet)
    }

    /// Whether this says that its sender has `ip`, or is about to take it: a reply or an announcement with that sender
    /// address, or somebody else's probe for it (RFC 5227 section 2.1.1).
    pub fn claims(&self, ip: Ipv4Addr) -> bool {
        let probe = self.operation == Operation::Request
            && self.sender_ip.is_unspecified()
            && self.target_ip == ip;
        self.sender_ip == ip || probe
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

    #[test]
    fn a_probe_is_the_frame_of_rfc_5227() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6,
            0, 1, 8, 0, 6, 4, 0, 1,
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 192, 168, 188, 120,
        ];
        assert_eq!(Frame::probe(US, VIP).bytes(), expected);
    }

    #[test]
    fn who_claims_an_address() {
        let reply = Packet {
            operation: Operation::Reply,
            sender_mac: THEM,
            sender_ip: VIP,
            target_mac: US,
            target_ip: Ipv4Addr::UNSPECIFIED,
        };
        assert!(reply.claims(VIP));
        assert!(Frame::announcement(THEM, VIP).packet.claims(VIP));
        assert!(Frame::probe(THEM, VIP).packet.claims(VIP));
        // a question is no claim, nor is an answer about another address
        assert!(
            !Frame::resolve(THEM, Ipv4Addr::new(192, 168, 188, 1), VIP)
                .packet
                .claims(VIP)
        );
        let other = Packet {
            sender_ip: Ipv4Addr::new(192, 168, 188, 9),
            target_ip: VIP,
            ..reply
        };
        assert!(!other.claims(VIP));
    }

    #[test]
    fn padding_is_ignored_and_whatever_is_not_exact_is_refused() {
        let good = Frame::announcement(THEM, VIP);
        let mut padded = good.bytes().to_vec();
        padded.resize(60, 0xaa);
        assert_eq!(Packet::parse(&padded), Some(good.packet));
        assert_eq!(Packet::parse(&padded[..41]), None);
        // EtherType, hardware, protocol, their lengths, operation; a sender that is a group or nobody
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
            let mut bad = good.bytes();
            bad[at] = value;
            assert_eq!(Packet::parse(&bad), None, "byte {at} = {value}");
        }
        assert_eq!(
            Packet::parse(&Frame::announcement(UNKNOWN, VIP).bytes()),
            None
        );
    }

    proptest! {
        #[test]
        fn arbitrary_frames_do_no_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), arp: bool) {
            // Most bytes are no ARP at all; these get past the first look.
            if let Some(start) = bytes.get_mut(12..22).filter(|_| arp) {
                start.copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + start[9] % 2]);
            }
            if let Some(packet) = Packet::parse(&bytes) {
                let frame = Frame::parse(&bytes).unwrap();
                prop_assert_eq!(frame.packet, packet);
                let again = frame.bytes();
                prop_assert_eq!(&again[..6], &bytes[..6]);
                prop_assert_eq!(&again[12..], &bytes[12..FRAME_LENGTH]);
            }
        }
    }
}
