//! The election's questions and what it hears, as ARP frames.

use std::net::{IpAddr, Ipv4Addr};

use crate::{
    election::{DirectorId, Heard, Question, Says, Sender},
    model::Mac,
    wire::arp::{Frame, Operation},
};

/// A question as a frame; `None` where ARP has no words for it.
pub fn question(from: Mac, me: DirectorId, question: &Question) -> Option<Frame> {
    let IpAddr::V4(about) = question.about else {
        return None;
    };
    let own = match (question.sender, me.0) {
        (Sender::Nobody, _) => None,
        (Sender::Own, IpAddr::V4(own)) => Some(own),
        (Sender::Own, IpAddr::V6(_)) => return None,
    };
    Some(Frame::question(from, own, about, question.to))
}

/// A frame as the election hears it, on a NIC with this MAC.
pub fn heard(frame: &Frame, own: Mac) -> Heard {
    let some = |ip: Ipv4Addr| (!ip.is_unspecified()).then_some(IpAddr::V4(ip));
    let packet = &frame.packet;
    Heard {
        from: packet.sender_mac,
        has: some(packet.sender_ip),
        says: match packet.operation {
            Operation::Request => Says::Asks(IpAddr::V4(packet.target_ip)),
            Operation::Reply => Says::Answers(some(packet.target_ip)),
        },
        to_us: frame.destination == own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
    const ME: DirectorId = DirectorId(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));

    fn asked(sender: Sender, to: Option<Mac>) -> Heard {
        let asked = Question {
            about: VIP.into(),
            to,
            sender,
        };
        // As the other side hears it.
        heard(&question(US, ME, &asked).unwrap(), THEM)
    }

    #[test]
    fn a_probe_names_nobody_and_reaches_everybody() {
        let expected = Heard {
            from: US,
            has: None,
            says: Says::Asks(VIP.into()),
            to_us: false,
        };
        assert_eq!(asked(Sender::Nobody, None), expected);
        let alone = Heard {
            to_us: true,
            ..expected
        };
        assert_eq!(asked(Sender::Nobody, Some(THEM)), alone);
        let confirm = Heard {
            has: Some(ME.0),
            ..alone
        };
        assert_eq!(asked(Sender::Own, Some(THEM)), confirm);
    }

    #[test]
    fn an_answer_repeats_who_asked() {
        let mut frame = Frame::question(THEM, Some(VIP), Ipv4Addr::UNSPECIFIED, Some(US));
        frame.packet.operation = Operation::Reply;
        let answer = heard(&frame, US);
        assert_eq!(answer.says, Says::Answers(None), "of a probe");
        assert!(answer.to_us);
        frame.packet.target_ip = VIP;
        assert_eq!(heard(&frame, US).says, Says::Answers(Some(VIP.into())));
    }
}
