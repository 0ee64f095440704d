//! Elections on a simulated LAN, without threads: a test decides when time passes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    agent::{Cause, Trigger},
    election::Timing,
    kernel::{
        KernelError, NicState,
        fake::{FakeLan, FakeNic},
    },
    metrics::Metrics,
};

use super::{ElectionParams, ElectionStatus, Elections, Participant};

type Open = Box<dyn FnMut(&ElectionParams) -> Result<FakeNic, KernelError>>;

/// The elections of one agent.
pub struct SimulatedElections {
    lan: FakeLan,
    name: String,
    begun: Arc<Mutex<Vec<ElectionParams>>>,
    participants: Vec<Simulated>,
    /// Asks for a pass when something has changed.
    trigger: Trigger,
}

struct Simulated {
    participant: Participant<FakeNic, Open>,
    /// The state of the NIC that it last saw.
    seen: Option<NicState>,
}

impl SimulatedElections {
    /// The elections of an agent on machine `name`, and the handle for its passes.
    pub fn new(
        lan: &FakeLan,
        name: &str,
        timing: Timing,
        lifetime: Option<Duration>,
    ) -> (Self, Elections) {
        let begun: Arc<Mutex<Vec<ElectionParams>>> = Arc::default();
        let list = Arc::clone(&begun);
        let trigger = Trigger::default();
        let status = ElectionStatus::new(trigger.clone(), Arc::new(Metrics::default()));
        let elections = Elections::new(timing, lifetime, Arc::new(status), move |params| {
            list.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(params);
            Ok(())
        });
        let simulated = Self {
            lan: lan.clone(),
            name: name.to_owned(),
            begun,
            participants: Vec::new(),
            trigger,
        };
        (simulated, elections)
    }

    /// Whether the elections have asked for a pass since the last call.
    pub fn ask_for_pass(&self) -> bool {
        self.trigger.take() != Cause::default()
    }

    /// Starts new participants, and lets all handle their messages and frames.
    fn work(&mut self) {
        let now = self.lan.now();
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for params in begun.drain(..) {
            let (lan, name) = (self.lan.clone(), self.name.clone());
            let open = Box::new(move |params: &ElectionParams| lan.nic(&name, &params.dev)) as Open;
            self.participants.push(Simulated {
                participant: Participant::new(params, open),
                seen: None,
            });
        }
        drop(begun);
        self.participants
            .retain_mut(|Simulated { participant, seen }| {
                while let Ok(message) = participant.inbox().try_recv() {
                    if participant.take(Some(message)).is_break() {
                        return false;
                    }
                }
                // The kernel's notice of a change comes last: on a real node it may wait behind all other work.
                participant.work(now);
                let shown = participant.nic().and_then(FakeNic::state);
                if std::mem::replace(seen, shown.clone()) != shown {
                    participant.changed();
                    participant.work(now);
                }
                true
            });
    }

    fn due(&self) -> Option<Duration> {
        let due = |it: &Simulated| it.participant.due();
        self.participants.iter().filter_map(due).min()
    }

    fn has_frames(&self) -> bool {
        let participants = self.participants.iter();
        let mut nics = participants.filter_map(|it| it.participant.nic());
        nics.any(FakeNic::has_frames)
    }
}

/// Lets `time` pass on a LAN, while the elections of these agents run.
pub fn pass_time<'a>(
    lan: &FakeLan,
    time: Duration,
    agents: impl IntoIterator<Item = &'a mut SimulatedElections>,
) {
    let mut agents: Vec<&mut SimulatedElections> = agents.into_iter().collect();
    let end = lan.now() + time;
    loop {
        // A killed agent does nothing any more.
        agents.retain(|agent| !lan.is_killed(&agent.name));
        for agent in &mut agents {
            agent.work();
        }
        if agents.iter().any(|agent| agent.has_frames()) {
            continue;
        }
        let next = agents.iter().filter_map(|agent| agent.due()).min();
        match next.filter(|next| *next <= end) {
            Some(next) if next > lan.now() => lan.wait_until(next),
            Some(_) => {}
            None => return lan.wait_until(end),
        }
    }
}
