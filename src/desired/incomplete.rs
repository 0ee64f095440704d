//! VIPs of which this director cannot serve everything, as its agent reports them, so that a VIP goes to a director that
//! can: the scheduler's module is missing here, say, or another program has a service with the same key.
//!
//! Nothing is moved by one failure. A service must be missing in several passes in a row, and then the VIP counts as
//! incomplete until everything behind it was served for [`WHOLE`]: an op that now fails and now succeeds moves a VIP there
//! and back once in that time at most.
//!
//! A standby that is also a real server has no services, so it cannot try. What was found when it held the VIP stays until
//! it holds the VIP again or the VIP's services become others.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::model::{IpRanges, Peers, Service, ServiceKey, VirtualService};

use super::{AfterPass, may_hold};

/// In so many passes in a row a service must be missing.
const PASSES: u32 = 3;
/// ... and for so long: passes may follow each other at once.
const CONFIRM: Duration = Duration::from_secs(1);
/// How soon a pass looks again for a service that is missing. Not every cause is an op that fails and is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long everything must have been served before the VIP counts as complete again.
pub const WHOLE: Duration = Duration::from_secs(300);

/// VIPs of which this director cannot serve everything, and what may become one. Times are on the agent's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncompleteVips {
    missing: BTreeMap<ServiceKey, Missing>,
    vips: BTreeMap<IpAddr, Incomplete>,
    /// Whether what the agent before this one reported was taken over.
    began: bool,
}

/// A service that should be in the kernel and is not, or is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    since: Duration,
    passes: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Incomplete {
    /// The VIP's services when one was missing last.
    asked: Services,
    /// Since when nothing is known to be missing any more.
    whole_since: Option<Duration>,
}

/// Services as VirtualServices ask for them, without destinations.
type Services = BTreeMap<ServiceKey, Service>;

/// Whether a service is as its VirtualService asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Served,
    Missing,
    /// This standby has no services.
    NotTried,
}

impl IncompleteVips {
    /// Takes in what a pass has found. Where agents cannot report, nobody would hear of it.
    pub fn update(&mut self, after: &AfterPass<'_>, now: Duration) {
        if after.snapshot.peers == Peers::Silent {
            *self = Self::default();
            return;
        }
        if !std::mem::replace(&mut self.began, true) {
            self.take_over(after);
        }
        let services = after.accepted().flat_map(VirtualService::services);
        let missing = services.filter(|key| after.find(*key) == Found::Missing);
        let before = std::mem::take(&mut self.missing);
        self.missing = missing
            .map(|key| (key, Missing::again(before.get(&key), now)))
            .collect();
        for (key, missing) in &self.missing {
            if missing.is_confirmed(now) {
                self.vips.entry(key.vip).or_default();
            }
        }
        let mut asked = after.services_on(&self.vips.keys().copied().collect());
        self.vips.retain(|vip, incomplete| {
            let services = asked.remove(vip);
            services.is_some_and(|services| incomplete.stays(services, after, now))
        });
    }

    /// What the agent before this one reported counts on, so that a restart moves nothing.
    fn take_over(&mut self, after: &AfterPass<'_>) {
        let reported = |vip: &IpAddr| after.snapshot.is_incomplete(after.node, *vip);
        let vips = after.accepted().flat_map(|it| &it.vips).copied();
        let vips = vips.filter(reported).collect();
        let asked = after.services_on(&vips).into_iter();
        let incomplete = |(vip, asked)| {
            let whole_since = None;
            (vip, Incomplete { asked, whole_since })
        };
        self.vips = asked.map(incomplete).collect();
    }

    /// The VIPs.
    pub fn vips(&self) -> IpRanges {
        self.vips.keys().copied().collect()
    }

    /// How long until a pass must look again, even if nothing changes.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let mut missing = self.missing.values();
        let again = missing.any(|it| !it.is_confirmed(now)).then_some(AGAIN);
        let whole = self.vips.values().filter_map(|it| it.whole_since).min();
        let whole = whole.map(|since| (since + WHOLE).saturating_sub(now));
        again.into_iter().chain(whole).min()
    }
}

impl Missing {
    fn again(before: Option<&Self>, now: Duration) -> Self {
        let since = before.map_or(now, |before| before.since);
        let passes = before.map_or(0, |before| before.passes).saturating_add(1);
        Self { since, passes }
    }

    fn is_confirmed(&self, now: Duration) -> bool {
        self.passes >= PASSES && now >= self.since + CONFIRM
    }
}

impl Incomplete {
    /// Whether the VIP still counts as incomplete, with `services` behind it.
    fn stays(&mut self, services: Services, after: &AfterPass<'_>, now: Duration) -> bool {
        let found: Vec<Found> = services.keys().map(|key| after.find(*key)).collect();
        let is_known = found.iter().all(|found| *found == Found::Served);
        if found.contains(&Found::Missing) {
            self.asked = services;
            self.whole_since = None;
        } else if is_known || services != self.asked {
            self.whole_since.get_or_insert(now);
        } else {
            self.whole_since = None;
        }
        self.whole_since.is_none_or(|since| now < since + WHOLE)
    }
}

impl<'a> AfterPass<'a> {
    /// The VirtualServices whose VIPs this director may hold.
    fn accepted(self) -> impl Iterator<Item = &'a VirtualService> {
        let accepted = self.admission.accepted.values();
        let accepted = accepted.map(|virtual_service| &**virtual_service);
        let is_undone = self.snapshot.undo.is_some();
        accepted.filter(move |it| !is_undone && may_hold(it, self.node, self.snapshot))
    }

    fn find(self, key: ServiceKey) -> Found {
        if self.desired.refused_services.contains(&key) {
            return Found::Missing;
        }
        let Some(wanted) = self.desired.net.services.get(&key) else {
            return Found::NotTried;
        };
        // One that could not be edited serves, but not as its VirtualService asks.
        match self.observed.net.services.get(&key) {
            Some(there) if there.same_settings(wanted) => Found::Served,
            Some(_) | None => Found::Missing,
        }
    }

    /// The services behind these VIPs, of which there are few.
    fn services_on(self, vips: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Services> {
        let mut found: BTreeMap<IpAddr, Services> = BTreeMap::new();
        if vips.is_empty() {
            return found;
        }
        for virtual_service in self.accepted() {
            for vip in virtual_service.vips.iter().filter(|it| vips.contains(it)) {
                let services = found.entry(*vip).or_default();
                let settings = virtual_service.settings(*vip);
                let keys = virtual_service.services_of(*vip);
                services.extend(keys.map(|key| (key, settings.clone())));
            }
        }
        found
    }
}
