//! What every address resolution must guarantee, checked on the real ones and on one that exists here only. Callers see
//! no difference between them, so another family needs another implementation and nothing else.

use super::*;

const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// An address resolution for IPv6 that no other host understands: the message's kind, the sender's address and the one in
/// question behind an Ethernet header.
#[derive(Debug)]
struct Toy;

impl AddressResolution for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn ethertype(&self) -> u16 {
        // For local experiments (IEEE 802).
        0x88b5
    }

    fn encode(&self, from: Mac, own: Option<IpAddr>, message: &Message) -> Option<Vec<Frame>> {
        let (kind, sender, about, to) = match *message {
            Message::Announce(ip) => (1, Some(ip), ip, None),
            Message::Request(Request { about, to, sender }) => match sender {
                Sender::Unspecified => (0, None, about, to),
                Sender::Own => (0, Some(own?), about, to),
            },
        };
        let octets = |ip: Option<IpAddr>| match ip {
            Some(IpAddr::V6(ip)) => Some(ip.octets()),
            Some(IpAddr::V4(_)) => None,
            None => Some([0; 16]),
        };
        // To a multicast group, as in neighbour discovery, and not to all hosts.
        let to = to.unwrap_or(Mac([0x33, 0x33, 0, 0, 0, 1]));
        let parts: [&[u8]; 6] = [
            &to.0,
            &from.0,
            &self.ethertype().to_be_bytes(),
            &[kind],
            &octets(sender)?,
            &octets(Some(about))?,
        ];
        Some(vec![parts.concat()])
    }

    fn decode(&self, own: Mac, frame: &[u8]) -> Option<Received> {
        let frame = frame.first_chunk::<47>()?;
        let ip = |at: usize| {
            Some(IpAddr::from(
                <[u8; 16]>::try_from(&frame[at..at + 16]).ok()?,
            ))
        };
        let has = ip(15)?;
        let is_ours = frame[12..14] == self.ethertype().to_be_bytes();
        is_ours.then_some(Received {
            from: Mac(frame[6..12].try_into().ok()?),
            has: (!has.is_unspecified()).then_some(has),
            meaning: match frame[14] {
                0 => Meaning::Request(ip(31)?),
                1 => Meaning::Reply(Some(ip(31)?)),
                _ => return None,
            },
            to_us: frame[..6] == own.0,
        })
    }
}

/// An implementation, a node's address and a VIP of its family, and an address of another one.
type Row = (&'static dyn AddressResolution, IpAddr, IpAddr, IpAddr);

fn rows() -> Vec<Row> {
    let [v4, v4_vip] = [1, 100].map(|last| IpAddr::from([10, 0, 0, last]));
    let [v6, v6_vip] = [1, 100].map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]));
    let families = [v4, v6].map(|own| (Family::of(own), own));
    let real = families.into_iter().filter_map(|(family, own)| {
        let (vip, other) = if own == v4 {
            (v4_vip, v6)
        } else {
            (v6_vip, v4)
        };
        Some((family.ok()?.resolution(), own, vip, other))
    });
    real.chain([(&Toy as &dyn AddressResolution, v6, v6_vip, v4)])
        .collect()
}

fn asked(about: IpAddr, sender: Sender, to: Option<Mac>) -> Message {
    Message::Request(Request { about, to, sender })
}

#[test]
fn a_question_says_the_same_in_every_family() {
    for (resolution, own, vip, _) in rows() {
        let heard = |sender, to| {
            let frames = resolution.encode(US, Some(own), &asked(vip, sender, to));
            let [frame] = &frames.unwrap()[..] else {
                panic!("a question is one frame");
            };
            resolution.decode(THEM, frame).unwrap()
        };
        let probe = Received {
            from: US,
            has: None,
            meaning: Meaning::Request(vip),
            to_us: false,
        };
        let named = Received {
            has: Some(own),
            ..probe
        };
        let alone = |heard: Received| Received {
            to_us: true,
            ..heard
        };
        assert_eq!(heard(Sender::Unspecified, None), probe, "{resolution:?}");
        assert_eq!(heard(Sender::Own, None), named, "{resolution:?}");
        let to = Some(THEM);
        assert_eq!(
            heard(Sender::Unspecified, to),
            alone(probe),
            "{resolution:?}"
        );
        assert_eq!(heard(Sender::Own, to), alone(named), "{resolution:?}");
        // A probe claims the address that it asks for; a request with a sender address claims only that one.
        assert_eq!([probe.claims(), named.claims()], [Some(vip), Some(own)]);
    }
}

#[test]
fn an_announcement_claims_its_address_in_every_family() {
    for (resolution, own, vip, _) in rows() {
        let frames = resolution.encode(US, Some(own), &Message::Announce(vip));
        let frames = frames.unwrap();
        assert!(!frames.is_empty(), "{resolution:?}");
        for frame in &frames {
            let heard = resolution.decode(THEM, frame).unwrap();
            assert_eq!((heard.from, heard.to_us), (US, false), "{resolution:?}");
            assert_eq!((heard.has, heard.claims()), (Some(vip), Some(vip)));
            let is_request = heard.meaning == Meaning::Request(vip);
            assert!(is_request || heard.is_gratuitous_reply(), "{heard:?}");
        }
    }
}

#[test]
fn a_reply_is_gratuitous_if_it_repeats_its_senders_address() {
    for (_, own, vip, _) in rows() {
        let is_gratuitous = |has, meaning| {
            let heard = Received {
                from: THEM,
                has,
                meaning,
                to_us: true,
            };
            heard.is_gratuitous_reply()
        };
        assert!(is_gratuitous(Some(vip), Meaning::Reply(Some(vip))));
        // Answers to a question with our address, and to a probe; a question; a reply of nobody.
        assert!(!is_gratuitous(Some(vip), Meaning::Reply(Some(own))));
        assert!(!is_gratuitous(Some(vip), Meaning::Reply(None)));
        assert!(!is_gratuitous(Some(vip), Meaning::Request(vip)));
        assert!(!is_gratuitous(None, Meaning::Reply(None)));
    }
}

#[test]
fn only_arp_has_two_forms_of_an_announcement() {
    for (resolution, own, vip, _) in rows() {
        let frames = resolution.encode(US, Some(own), &Message::Announce(vip));
        let expected = if own.is_ipv4() { 2 } else { 1 };
        assert_eq!(frames.unwrap().len(), expected, "{resolution:?}");
    }
}

#[test]
fn what_a_family_has_no_words_for_is_not_sent() {
    for (resolution, own, vip, other) in rows() {
        let impossible = [
            (Some(own), Message::Announce(other)),
            (Some(own), asked(other, Sender::Unspecified, None)),
            (Some(other), asked(vip, Sender::Own, None)),
            (None, asked(vip, Sender::Own, None)),
        ];
        for (own, message) in impossible {
            assert_eq!(resolution.encode(US, own, &message), None, "{message:?}");
        }
    }
}

#[test]
fn families_do_not_hear_each_other() {
    for (speaker, own, vip, _) in rows() {
        let frames = speaker.encode(US, Some(own), &Message::Announce(vip));
        for frame in frames.unwrap() {
            for (hearer, ..) in rows() {
                let same = hearer.ethertype() == speaker.ethertype();
                assert_eq!(hearer.decode(THEM, &frame).is_some(), same);
            }
            for length in 0..frame.len() {
                assert_eq!(speaker.decode(THEM, &frame[..length]), None);
            }
        }
    }
}

#[test]
fn ipv6_is_refused_with_its_reason() {
    let refused = Family::of("fd00::1".parse().unwrap()).unwrap_err();
    let expected = "neighbour discovery for IPv6 is not supported yet";
    assert_eq!(refused.to_string(), expected);
}
