//! What the elections of this node's segments have come to: written by their threads, read by passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    agent::Trigger,
    election::{GiveCause, Report, TakeCause},
    metrics::Metrics,
    model::{AddressKey, Dev, Elected},
};

/// Shared between the threads.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// Whoever reads it is told.
    trigger: Trigger,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    elected: Elected,
    /// Why an election cannot be held.
    troubles: BTreeMap<Dev, String>,
}

impl State {
    fn add<'a>(&mut self, dev: &Dev, vips: impl IntoIterator<Item = &'a IpAddr>) {
        for vip in vips {
            let devices = self.elected.held.entry(*vip).or_default();
            devices.insert(dev.clone());
        }
    }
}

impl Board {
    /// Nothing has happened yet.
    pub fn new(trigger: Trigger, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            trigger,
            metrics,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held on `dev`.
    pub fn held_on(&self, dev: &Dev) -> BTreeSet<IpAddr> {
        let state = self.state();
        let held = state.elected.held.iter();
        let here = held.filter(|(_, devices)| devices.contains(dev));
        here.map(|(vip, _)| *vip).collect()
    }

    /// Who holds what here.
    pub fn elected(&self) -> Elected {
        self.state().elected.clone()
    }

    /// Why elections cannot be held.
    pub fn troubles(&self) -> BTreeMap<Dev, String> {
        self.state().troubles.clone()
    }

    /// These are about to be on the NIC: said before they are.
    pub fn takes(&self, dev: &Dev, vips: &BTreeSet<IpAddr>) {
        self.state().add(dev, vips);
        self.trigger.kernel();
    }

    /// These are no longer on the NIC: said after they have gone.
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
            self.changed.notify_all();
            self.trigger.kernel();
        }
    }

    /// What a look at the NIC shows: these are there, and those are not any more.
    pub fn sees(&self, dev: &Dev, present: &[IpAddr], gone: &BTreeSet<IpAddr>) {
        self.state().add(dev, present);
        self.gave(dev, gone);
    }

    /// The election on `dev` has ended; what is on the NIC is no longer its business.
    pub fn ended(&self, dev: &Dev) {
        let mut state = self.state();
        state.troubles.remove(dev);
        state.elected.conflicts.retain(|key, _| key.dev != *dev);
        let held = &mut state.elected.held;
        held.retain(|_, devices| {
            devices.remove(dev);
            !devices.is_empty()
        });
        drop(state);
        self.changed.notify_all();
        self.trigger.kernel();
    }

    /// Why the election on `dev` cannot be held; `None` = it can.
    pub fn trouble(&self, dev: &Dev, cause: Option<String>) {
        let mut state = self.state();
        let before = match &cause {
            Some(cause) => state.troubles.insert(dev.clone(), cause.clone()),
            None => state.troubles.remove(dev),
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

    /// Waits until none of these is held any more, or the time is up.
    pub fn wait_until_given(&self, keys: &BTreeSet<AddressKey>, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while keys.iter().any(|key| state.elected.holds_on(key)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells people what the election says.
    pub fn report(&self, dev: &Dev, report: &Report, name: &str) {
        match report {
            Report::Peer { up: true, .. } => {
                tracing::info!(%dev, director = name, "its kernel answers")
            }
            Report::Peer { up: false, .. } => {
                tracing::warn!(%dev, director = name, "its kernel does not answer any more");
            }
            Report::Took {
                vip, cause, after, ..
            } => {
                let cause = take_cause(*cause);
                let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(%dev, %vip, cause, after_ms = ms, from = name, "holds the VIP");
                self.metrics.took(cause, *after);
            }
            Report::Gave { vip, cause, .. } => {
                let cause = give_cause(*cause);
                tracing::info!(%dev, %vip, cause, to = name, "gives up the VIP");
                self.metrics.gave(cause);
            }
            Report::Conflict { vip, mac, .. } => {
                tracing::warn!(%dev, %vip, %mac, host = name, "another host answers for the VIP");
                let key = AddressKey::new(dev.clone(), *vip);
                let macs = [*mac].into();
                self.state().elected.conflicts.insert(key, macs);
                self.trigger.kernel();
            }
            Report::ConflictOver { vip } => {
                tracing::info!(%dev, %vip, "nobody else answers for the VIP any more");
                let key = AddressKey::new(dev.clone(), *vip);
                self.state().elected.conflicts.remove(&key);
                self.trigger.kernel();
            }
            Report::Paused(late) => {
                let ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(%dev, ms, "stood still: everything is looked at again");
            }
            Report::MoveRefused { vip, .. } => {
                tracing::info!(%dev, %vip, holder = name, "its holder does not agree to a move yet");
            }
        }
    }

    /// Frames that left.
    pub fn sent(&self, kind: &'static str, count: usize) {
        self.metrics.frames(kind, count);
    }
}

fn take_cause(cause: TakeCause) -> &'static str {
    match cause {
        TakeCause::Vacant => "vacant",
        TakeCause::HolderDown => "holder-down",
        TakeCause::HolderSilent => "holder-silent",
        TakeCause::Planned => "planned",
        TakeCause::Adopted => "adopted",
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

    fn board() -> Board {
        Board::new(Trigger::default(), Arc::new(Metrics::default()))
    }

    #[test]
    fn a_vip_is_held_from_before_it_is_on_the_nic_until_after_it_has_left() {
        let (board, eth0, eth1) = (board(), dev("eth0"), dev("eth1"));
        let key = AddressKey::new(eth0.clone(), VIP);
        board.takes(&eth0, &[VIP].into());
        board.takes(&eth1, &[VIP].into());
        assert!(board.elected().holds_on(&key));
        board.gave(&eth0, &[VIP].into());
        assert!(!board.elected().holds_on(&key));
        board.ended(&eth1);
        assert_eq!(board.elected(), Elected::default());
    }

    #[test]
    fn a_look_at_the_nic_finds_what_others_did() {
        let (board, eth0) = (board(), dev("eth0"));
        let other = IpAddr::from([10, 0, 0, 101]);
        board.takes(&eth0, &[VIP].into());
        board.sees(&eth0, &[other], &[VIP].into());
        let held: Vec<IpAddr> = board.elected().held.into_keys().collect();
        assert_eq!(held, [other]);
    }

    #[test]
    fn a_conflict_is_known_until_it_is_over() {
        let (board, eth0) = (board(), dev("eth0"));
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let conflict = Report::Conflict {
            vip: VIP,
            mac,
            director: None,
        };
        board.report(&eth0, &conflict, "nobody");
        let key = AddressKey::new(eth0.clone(), VIP);
        assert_eq!(board.elected().conflicts[&key], [mac].into());
        board.report(&eth0, &Report::ConflictOver { vip: VIP }, "nobody");
        assert!(board.elected().conflicts.is_empty());
    }

    #[test]
    fn moves_are_counted_by_cause() {
        let metrics = Arc::new(Metrics::default());
        let board = Board::new(Trigger::default(), Arc::clone(&metrics));
        let from = Some(DirectorId([10, 0, 0, 1].into()));
        let took = Report::Took {
            vip: VIP,
            from,
            cause: TakeCause::HolderDown,
            after: Duration::from_millis(250),
        };
        let gave = Report::Gave {
            vip: VIP,
            to: from,
            cause: GiveCause::Outranked,
        };
        board.report(&dev("eth0"), &took, "a");
        board.report(&dev("eth0"), &gave, "a");
        let text = metrics.encode();
        for line in [
            r#"directway_vip_transitions_total{direction="taken",cause="holder-down"} 1"#,
            r#"directway_vip_transitions_total{direction="given",cause="outranked"} 1"#,
            "directway_vip_takeover_seconds_sum 0.25",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
    }

    #[test]
    fn waiting_ends_when_the_vip_is_given_and_not_before() {
        let (board, eth0) = (Arc::new(board()), dev("eth0"));
        let keys = [AddressKey::new(eth0.clone(), VIP)].into();
        board.takes(&eth0, &[VIP].into());
        board.wait_until_given(&keys, Duration::from_millis(1));
        assert!(
            board
                .elected()
                .holds_on(&AddressKey::new(eth0.clone(), VIP))
        );
        let giver = Arc::clone(&board);
        let thread = std::thread::spawn(move || giver.gave(&eth0, &[VIP].into()));
        board.wait_until_given(&keys, Duration::from_secs(60));
        thread.join().unwrap();
        assert_eq!(board.elected(), Elected::default());
    }
}
