use std::{collections::BTreeMap, time::Duration};

use crate::election::{DirectorId, ElectionConfig, Meaning, Received, Request, Sender};

/// How long other directors' kernels take to answer.
///
/// The election itself needs only whether they do. The times are for users who tune its timers: replies that take
/// longer than the interval of the questions may lead to a false alarm. They include the time to read the reply.
#[derive(Debug, Default)]
pub struct RoundTrips(BTreeMap<DirectorId, Duration>);

impl RoundTrips {
    /// A question was sent at `now`. If the one before was not answered, the time is measured from this one.
    pub fn asked(&mut self, question: &Request, config: &ElectionConfig, now: Duration) {
        let director = DirectorId(question.about);
        let is_liveness = question.to.is_some() && question.sender == Sender::Own;
        if is_liveness && config.peers.contains_key(&director) {
            self.0.insert(director, now);
        }
    }

    /// The director whose reply was read at `now`, and how long after the question; `None` if no question was open.
    pub fn answered(&mut self, heard: &Received, now: Duration) -> Option<(DirectorId, Duration)> {
        let is_reply = matches!(heard.meaning, Meaning::Reply(_));
        // Other directors' replies to all hosts, and announcements, answer no question of this one.
        if !is_reply || !heard.to_us || heard.is_gratuitous_reply() {
            return None;
        }
        let director = DirectorId(heard.has?);
        let asked = self.0.remove(&director)?;
        Some((director, now.saturating_sub(asked)))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::IpAddr};

    use super::*;
    use crate::{election::PeerConfig, model::Mac};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn question(about: IpAddr) -> Request {
        Request {
            about,
            to: Some(MAC),
            sender: Sender::Own,
        }
    }

    fn answer(has: IpAddr) -> Received {
        Received {
            from: MAC,
            has: Some(has),
            meaning: Meaning::Reply(None),
            to_us: true,
        }
    }

    #[test]
    fn an_answer_is_measured_once_from_the_last_question() {
        let known = PeerConfig {
            name: "e".into(),
            mac: None,
        };
        let config = ElectionConfig {
            me: DirectorId(IpAddr::from([10, 0, 0, 1])),
            macs: BTreeSet::new(),
            peers: BTreeMap::from([(DirectorId(PEER), known)]),
            vips: BTreeMap::new(),
            fresh: true,
        };
        let ms = Duration::from_millis;
        let mut trips = RoundTrips::default();
        trips.asked(&question(PEER), &config, ms(100));
        trips.asked(&question(PEER), &config, ms(150));
        trips.asked(&question(VIP), &config, ms(150));
        assert_eq!(trips.answered(&answer(VIP), ms(151)), None);
        let to_all = Received {
            to_us: false,
            ..answer(PEER)
        };
        assert_eq!(trips.answered(&to_all, ms(151)), None);
        let announcement = Received {
            meaning: Meaning::Reply(Some(PEER)),
            ..answer(PEER)
        };
        assert_eq!(trips.answered(&announcement, ms(151)), None);
        let found = trips.answered(&answer(PEER), ms(152));
        assert_eq!(found, Some((DirectorId(PEER), ms(2))));
        assert_eq!(trips.answered(&answer(PEER), ms(153)), None);
    }
}
