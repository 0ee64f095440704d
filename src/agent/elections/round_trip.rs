use std::{collections::BTreeMap, time::Duration};

use crate::election::{DirectorId, ElectionConfig, Meaning, Received, Request, Sender};

/// How long other directors' kernels take to answer.
///
/// The election itself wants to know only whether they do. This is for people who tune its timers: an answer that takes longer than
/// a question's interval is on its way to a false alarm. It includes how long this agent took to read it.
#[derive(Debug, Default)]
pub struct RoundTrips(BTreeMap<DirectorId, Duration>);

impl RoundTrips {
    /// A question left at `now`. A kernel that did not answer the one before is measured from this one.
    pub fn asked(&mut self, question: &Request, config: &ElectionConfig, now: Duration) {
        let director = DirectorId(question.about);
        let is_liveness = question.to.is_some() && question.sender == Sender::Own;
        if is_liveness && config.peers.contains_key(&director) {
            self.0.insert(director, now);
        }
    }

    /// Who has answered at `now`, and after how long.
    pub fn answered(&mut self, heard: &Received, now: Duration) -> Option<(DirectorId, Duration)> {
        let Meaning::Reply(_) = heard.meaning else {
            return None;
        };
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
        let found = trips.answered(&answer(PEER), ms(152));
        assert_eq!(found, Some((DirectorId(PEER), ms(2))));
        assert_eq!(trips.answered(&answer(PEER), ms(153)), None);
    }
}
