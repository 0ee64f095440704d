//! Whether the other directors' kernels are up: asked by ARP per pair of directors, however many VIPs there are.
//!
//! The kernel answers these questions, so a peer whose agent crashed, hangs or is starved of CPU is up. Only an
//! answer to a unicast question counts: a switch that suppresses ARP answers broadcasts for dead hosts, and a frame
//! that a peer sends unasked does not prove that it receives any.

use std::{collections::BTreeMap, time::Duration};

use crate::model::Mac;

use super::{Actions, DirectorId, ElectionConfig, Notice, Sender, timing::Timing};

/// What is known of a peer's kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Liveness {
    /// Not asked often enough yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Peer {
    /// What the sources say.
    configured: Option<Mac>,
    /// The configured MAC, or the one learnt from an answer.
    mac: Option<Mac>,
    liveness: Liveness,
    /// The question that waits for an answer.
    asked: Option<Asked>,
    /// Unanswered questions in a row.
    misses: u32,
    /// When it was last asked.
    asked_at: Duration,
    due: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Unicast,
    Broadcast,
}

/// Every this many misses, a peer that is down is asked by broadcast, because its MAC may have changed.
const LOOK_AGAIN: u32 = 5;

impl Peer {
    fn new(mac: Option<Mac>, now: Duration) -> Self {
        Self {
            configured: mac,
            mac,
            liveness: Liveness::Unknown,
            asked: None,
            misses: 0,
            asked_at: Duration::ZERO,
            due: now,
        }
    }

    /// Counts the question that had no answer, and asks again.
    fn ask(&mut self, id: DirectorId, timing: &Timing, now: Duration, out: &mut Actions) {
        let was_missed = self.asked.is_some();
        if was_missed {
            self.misses = self.misses.saturating_add(1);
        }
        if self.misses >= timing.misses {
            self.liveness = Liveness::Down;
        }
        let is_down = self.liveness == Liveness::Down;
        let looks = is_down && was_missed && self.misses.is_multiple_of(LOOK_AGAIN);
        let to = self.mac.filter(|_| !looks);
        self.asked = Some(if to.is_some() {
            Asked::Unicast
        } else {
            Asked::Broadcast
        });
        self.asked_at = now;
        self.due = now + if is_down { timing.ask_down } else { timing.ask };
        out.ask(id.0, to, Sender::Own);
    }

    fn answered(&mut self, mac: Mac, now: Duration) {
        if self.asked == Some(Asked::Broadcast) {
            self.mac = Some(mac);
            self.asked = None;
            self.due = now;
        } else if self.asked.is_some() && self.mac == Some(mac) {
            self.asked = None;
            self.misses = 0;
            self.liveness = Liveness::Up;
        }
    }
}

/// The peers of a director on one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Peers(BTreeMap<DirectorId, Peer>);

/// A peer whose liveness changed, and the new one.
pub(super) type PeerChange = (DirectorId, Liveness);

impl Peers {
    /// Takes the peers from the configuration.
    pub fn config(&mut self, config: &ElectionConfig, now: Duration) {
        self.0.retain(|id, _| config.peers.contains_key(id));
        for (id, known) in &config.peers {
            let peer = self
                .0
                .entry(*id)
                .or_insert_with(|| Peer::new(known.mac, now));
            if peer.configured != known.mac {
                peer.configured = known.mac;
                peer.mac = known.mac.or(peer.mac);
            }
        }
    }

    /// Asks the peers that are due.
    pub fn tick(&mut self, timing: &Timing, now: Duration, out: &mut Actions) -> Vec<PeerChange> {
        let mut changes = Vec::new();
        for (id, peer) in &mut self.0 {
            if peer.due <= now {
                changes.extend(noting(*id, peer, out, |peer, out| {
                    peer.ask(*id, timing, now, out)
                }));
            }
        }
        changes
    }

    /// An answer for a peer's own address.
    pub fn answered(
        &mut self,
        id: DirectorId,
        mac: Mac,
        now: Duration,
        out: &mut Actions,
    ) -> Option<PeerChange> {
        let peer = self.0.get_mut(&id)?;
        noting(id, peer, out, |peer, _| peer.answered(mac, now))
    }

    /// A peer asks for an address, or announces its own. That proves nothing, but it is a reason to ask a peer that is down,
    /// as often as one that is up. Where broadcasts do not get through, its MAC becomes known only in this way.
    pub fn announced(&mut self, id: DirectorId, mac: Mac, timing: &Timing, now: Duration) {
        if let Some(peer) = self.0.get_mut(&id) {
            peer.mac.get_or_insert(mac);
            if peer.liveness == Liveness::Down {
                peer.due = peer.due.min(now.max(peer.asked_at + timing.ask));
            }
        }
    }

    /// A peer's kernel answered a unicast question about a VIP.
    pub fn proved(&mut self, id: DirectorId, out: &mut Actions) -> Option<PeerChange> {
        let peer = self.0.get_mut(&id)?;
        noting(id, peer, out, |peer, _| {
            // Unknown: the question may be older than a pause of this director, so its answer proves nothing.
            if peer.liveness != Liveness::Unknown {
                peer.misses = 0;
                peer.liveness = Liveness::Up;
            }
        })
    }

    /// Forgets which peers are up, and asks all of them again.
    pub fn forget(&mut self, now: Duration) {
        for peer in self.0.values_mut() {
            peer.liveness = Liveness::Unknown;
            peer.asked = None;
            peer.misses = 0;
            peer.due = now;
        }
    }

    pub fn liveness(&self, id: DirectorId) -> Liveness {
        self.0.get(&id).map_or(Liveness::Down, |peer| peer.liveness)
    }

    pub fn mac(&self, id: DirectorId) -> Option<Mac> {
        self.0.get(&id)?.mac
    }

    pub fn by_mac(&self, mac: Mac) -> Option<DirectorId> {
        self.0
            .iter()
            .find(|(_, peer)| peer.mac == Some(mac))
            .map(|(id, _)| *id)
    }

    /// Whether each peer is known to be up or down. Only then a MAC that is not a peer's is a stranger's.
    pub fn settled(&self) -> bool {
        self.0
            .values()
            .all(|peer| peer.liveness != Liveness::Unknown)
    }

    pub fn next(&self) -> Option<Duration> {
        self.0.values().map(|peer| peer.due).min()
    }
}

fn noting(
    id: DirectorId,
    peer: &mut Peer,
    out: &mut Actions,
    act: impl FnOnce(&mut Peer, &mut Actions),
) -> Option<PeerChange> {
    let before = peer.liveness;
    act(peer, out);
    if peer.liveness == before {
        return None;
    }
    out.notices.push(Notice::Peer {
        director: id,
        up: peer.liveness == Liveness::Up,
    });
    Some((id, peer.liveness))
}
