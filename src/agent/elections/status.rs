//! The results of the elections of this node's segments: written by their threads, read by passes.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    agent::Trigger,
    election::{GiveCause, Notice, TakeCause},
    metrics::Metrics,
    model::{AddressKey, Dev, Elected, Move, NodeName},
    wire::Message,
};

/// How many moves are remembered.
const MOVES: usize = 10;
/// VIPs taken from one director within this time, for one cause, are one move, because claims of many VIPs are paced.
const TOGETHER: Duration = Duration::from_secs(2);

/// Shared between the threads.
#[derive(Debug)]
pub struct ElectionStatus {
    state: Mutex<State>,
    /// Asks for a pass after every change, so that the pass reads it.
    trigger: Trigger,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    elected: Elected,
    /// The newest last.
    moves: VecDeque<Moved>,
}

/// VIPs that this node took together.
#[derive(Debug)]
struct Moved {
    at: Timestamp,
    began: Instant,
    vips: BTreeSet<IpAddr>,
    from: Option<String>,
    cause: TakeCause,
    after: Duration,
}

impl State {
    fn moved(&mut self, vip: IpAddr, from: Option<String>, cause: TakeCause, after: Duration) {
        if let Some(last) = self.moves.back_mut()
            && last.began.elapsed() < TOGETHER
            && (&last.from, last.cause) == (&from, cause)
            && last.vips.insert(vip)
        {
            last.after = last.after.max(after);
            return;
        }
        self.moves.push_back(Moved {
            at: Timestamp::now(),
            began: Instant::now(),
            vips: [vip].into(),
            from,
            cause,
            after,
        });
        if self.moves.len() > MOVES {
            self.moves.pop_front();
        }
    }

    fn add<'a>(&mut self, dev: &Dev, vips: impl IntoIterator<Item = &'a IpAddr>) {
        for vip in vips {
            let devices = self.elected.held.entry(*vip).or_default();
            devices.insert(dev.clone());
        }
    }
}

impl ElectionStatus {
    /// No election runs yet.
    pub fn new(trigger: Trigger, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            trigger,
            metrics,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VIPs held on `dev`.
    pub fn held_on(&self, dev: &Dev) -> BTreeSet<IpAddr> {
        let state = self.state();
        let held = state.elected.held.iter();
        let here = held.filter(|(_, devices)| devices.contains(dev));
        here.map(|(vip, _)| *vip).collect()
    }

    /// The last moves of VIPs to this node, the newest last.
    pub fn moves(&self) -> Vec<Move> {
        let state = self.state();
        let moves = state.moves.iter().map(|moved| Move {
            at: moved.at,
            vips: moved.vips.iter().copied().collect(),
            from: moved.from.clone(),
            cause: moved.cause,
            after: moved.after,
        });
        moves.collect()
    }

    /// The present state of the elections.
    pub fn elected(&self) -> Elected {
        self.state().elected.clone()
    }

    /// These VIPs count as held from now on: called before they are added to the NIC.
    pub fn takes(&self, dev: &Dev, vips: &BTreeSet<IpAddr>) {
        self.state().add(dev, vips);
        self.trigger.kernel();
    }

    /// These VIPs are no longer held: called after they have left the NIC.
    pub fn gave(&self, dev: &Dev, vips: &BTreeSet<IpAddr>) {
        let mut state = self.state();
        let mut news = false;
        for vip in vips {
            if let Some(devices) = state.elected.held.get_mut(vip) {
                news |= devices.remove(dev);
                if devices.is_empty() {
                    state.elected.held.remove(vip);
                }
            }
        }
        drop(state);
        if news {
            self.trigger.kernel();
        }
    }

    /// What the NIC carries: `present`, and no longer `gone`.
    pub fn sees(&self, dev: &Dev, present: &[IpAddr], gone: &BTreeSet<IpAddr>) {
        self.state().add(dev, present);
        self.gave(dev, gone);
    }

    /// The election on `dev` begins with these VIPs on the NIC.
    pub fn opened(&self, dev: &Dev, vips: &BTreeSet<IpAddr>) {
        let mut state = self.state();
        state.elected.running.insert(dev.clone());
        state.add(dev, vips);
        drop(state);
        self.problem(dev, None);
        self.trigger.kernel();
    }

    /// The election on `dev` is over, and its problem with it.
    pub fn ended(&self, dev: &Dev) {
        self.state().elected.problems.remove(dev);
        self.closed(dev);
    }

    /// The election on `dev` is interrupted; until it goes on, passes take the VIPs on the NIC for those held.
    pub fn closed(&self, dev: &Dev) {
        let mut state = self.state();
        state.elected.running.remove(dev);
        state.elected.conflicts.retain(|key, _| key.dev != *dev);
        let held = &mut state.elected.held;
        held.retain(|_, devices| {
            devices.remove(dev);
            !devices.is_empty()
        });
        drop(state);
        self.trigger.kernel();
    }

    /// Why the election on `dev` cannot run; `None` = it can.
    pub fn problem(&self, dev: &Dev, cause: Option<String>) {
        let mut state = self.state();
        let before = match &cause {
            Some(cause) => {
                let problems = &mut state.elected.problems;
                problems.insert(dev.clone(), cause.clone())
            }
            None => state.elected.problems.remove(dev),
        };
        drop(state);
        if before != cause {
            match cause {
                Some(cause) => tracing::error!(%dev, "no election: {cause}"),
                None => tracing::info!(%dev, "the election goes on"),
            }
            self.trigger.kernel();
        }
    }

    /// Logs and counts what the election reports, and keeps what NodeStates show of it.
    pub fn notice(&self, dev: &Dev, notice: &Notice, name: &str) {
        match notice {
            Notice::Peer { up: true, .. } => {
                tracing::info!(%dev, director = name, "its kernel answers")
            }
            Notice::Peer { up: false, .. } => {
                tracing::warn!(%dev, director = name, "its kernel does not answer any more");
            }
            Notice::Took {
                vip,
                from,
                cause,
                after,
            } => {
                let word = cause.name();
                let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(%dev, %vip, cause = word, after_ms = ms, from = name, "holds the VIP");
                self.metrics.took(word, *after);
                // A VIP that an agent finds on its NIC when it starts has not moved.
                if *cause != TakeCause::Adopted {
                    let from = from.map(|_| name.to_owned());
                    self.state().moved(*vip, from, *cause, *after);
                    self.trigger.kernel();
                }
            }
            Notice::Gave { vip, cause, .. } => {
                let cause = give_cause(*cause);
                tracing::info!(%dev, %vip, cause, to = name, "gives up the VIP");
                self.metrics.gave(cause);
            }
            Notice::Conflict { vip, mac, director } => {
                tracing::warn!(%dev, %vip, %mac, host = name, "another host answers for the VIP");
                let key = AddressKey::new(dev.clone(), *vip);
                let rivals = [(*mac, director.map(|_| NodeName::from(name)))].into();
                self.state().elected.conflicts.insert(key, rivals);
                self.trigger.kernel();
            }
            Notice::ConflictOver { vip } => {
                tracing::info!(%dev, %vip, "nobody else answers for the VIP any more");
                let key = AddressKey::new(dev.clone(), *vip);
                self.state().elected.conflicts.remove(&key);
                self.trigger.kernel();
            }
            Notice::Paused(late) => {
                let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%dev, ms, "stood still: everything is looked at again");
            }
            Notice::MoveRefused { vip, .. } => {
                tracing::info!(%dev, %vip, holder = name, "its holder does not agree to a move yet");
            }
        }
    }

    /// Counts the frames that the NIC took, given with each message: announcements, and broadcast and unicast questions.
    pub fn sent(&self, messages: &[(Message, usize)]) {
        let (mut announcements, mut broadcasts, mut unicasts) = (0, 0, 0);
        for (message, frames) in messages {
            let count = match message {
                Message::Announce(_) => &mut announcements,
                Message::Request(question) if question.to.is_none() => &mut broadcasts,
                Message::Request(_) => &mut unicasts,
            };
            *count += frames;
        }
        self.metrics.announced(announcements);
        for (kind, count) in [("broadcasts", broadcasts), ("unicasts", unicasts)] {
            if count > 0 {
                self.metrics.asked(kind, count);
            }
        }
    }

    /// Another director's kernel has answered, `after` the question.
    pub fn answered(&self, name: &NodeName, after: Duration) {
        self.metrics.answered(&name.0, after);
    }
}

fn give_cause(cause: GiveCause) -> &'static str {
    match cause {
        GiveCause::Outranked => "outranked",
        GiveCause::Overtaken => "overtaken",
        GiveCause::Contest => "contest",
        GiveCause::CarrierLost => "carrier-lost",
        GiveCause::NotWanted => "not-wanted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{election::DirectorId, model::Mac};

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));

    fn dev(name: &str) -> Dev {
        name.parse().unwrap()
    }

    fn status() -> ElectionStatus {
        ElectionStatus::new(Trigger::default(), Arc::new(Metrics::default()))
    }

    #[test]
    fn a_vip_is_held_from_before_it_is_on_the_nic_until_after_it_has_left() {
        let (status, eth0, eth1) = (status(), dev("eth0"), dev("eth1"));
        let key = AddressKey::new(eth0.clone(), VIP);
        status.takes(&eth0, &[VIP].into());
        status.takes(&eth1, &[VIP].into());
        assert!(status.elected().holds_on(&key));
        status.gave(&eth0, &[VIP].into());
        assert!(!status.elected().holds_on(&key));
        status.ended(&eth1);
        assert_eq!(status.elected(), Default::default());
    }

    #[test]
    fn a_look_at_the_nic_finds_what_others_did() {
        let (status, eth0) = (status(), dev("eth0"));
        let other = IpAddr::from([10, 0, 0, 101]);
        status.takes(&eth0, &[VIP].into());
        status.sees(&eth0, &[other], &[VIP].into());
        let held: Vec<IpAddr> = status.elected().held.into_keys().collect();
        assert_eq!(held, [other]);
    }

    #[test]
    fn a_conflict_is_known_until_it_is_over() {
        let (status, eth0) = (status(), dev("eth0"));
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let conflict = Notice::Conflict {
            vip: VIP,
            mac,
            director: None,
        };
        status.notice(&eth0, &conflict, "nobody");
        let key = AddressKey::new(eth0.clone(), VIP);
        assert_eq!(status.elected().conflicts[&key], [(mac, None)].into());
        status.notice(&eth0, &Notice::ConflictOver { vip: VIP }, "nobody");
        assert!(status.elected().conflicts.is_empty());
    }

    #[test]
    fn vips_that_come_together_are_one_move() {
        let (status, eth0) = (status(), dev("eth0"));
        let took = |host: u8, cause, ms| Notice::Took {
            vip: IpAddr::from([10, 0, 0, host]),
            from: Some(DirectorId(VIP)),
            cause,
            after: Duration::from_millis(ms),
        };
        status.notice(&eth0, &took(1, TakeCause::Adopted, 0), "e");
        status.notice(&eth0, &took(1, TakeCause::HolderDown, 90), "e");
        status.notice(&eth0, &took(2, TakeCause::HolderDown, 95), "e");
        status.notice(&eth0, &took(3, TakeCause::Planned, 3), "e");
        let told: Vec<_> = status
            .moves()
            .into_iter()
            .map(|it| (it.vips.to_strings().join(","), it.from, it.cause, it.after))
            .collect();
        let from = || Some("e".to_owned());
        let ms = Duration::from_millis;
        assert_eq!(
            told,
            [
                (
                    "10.0.0.1-10.0.0.2".to_owned(),
                    from(),
                    TakeCause::HolderDown,
                    ms(95)
                ),
                ("10.0.0.3".to_owned(), from(), TakeCause::Planned, ms(3)),
            ]
        );
        for host in 0..100 {
            status.notice(&eth0, &took(host % 2, TakeCause::Planned, 3), "e");
        }
        assert_eq!(status.moves().len(), MOVES);
    }

    #[test]
    fn moves_are_counted_by_cause() {
        let metrics = Arc::new(Metrics::default());
        let status = ElectionStatus::new(Trigger::default(), Arc::clone(&metrics));
        let from = Some(DirectorId([10, 0, 0, 1].into()));
        let took = Notice::Took {
            vip: VIP,
            from,
            cause: TakeCause::HolderDown,
            after: Duration::from_millis(250),
        };
        let gave = Notice::Gave {
            vip: VIP,
            to: from,
            cause: GiveCause::Outranked,
        };
        status.notice(&dev("eth0"), &took, "a");
        status.notice(&dev("eth0"), &gave, "a");
        let text = metrics.encode();
        for line in [
            r#"directway_vip_transitions_total{direction="taken",cause="holder-down"} 1"#,
            r#"directway_vip_transitions_total{direction="given",cause="outranked"} 1"#,
            "directway_vip_takeover_seconds_sum 0.25",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
    }
}
