//! What health checks say of the real servers of one VIP, port by port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::{
    health::{Check, Down, Failure, Health, Path, Target, Verdict},
    model::{
        ApplicationRequest, Link, Protocol, Reach, Reason, Refusal, ServiceKey, VirtualService,
    },
};

use super::{Desired, Inputs, RealServerState, RealServerStates, director::Unchecked};

/// Adds what checks say of the real servers of `vip` that could get connections, and to `desired` the checks that this needs.
///
/// While none of them is known to serve, those with a terminating endpoint get connections; and if there is none of these
/// either, those that fail get them all the same: checks can be wrong, and no client is served better by none.
pub(super) fn checked(
    virtual_service: &VirtualService,
    vip: IpAddr,
    unchecked: Unchecked,
    inputs: &Inputs<'_>,
    desired: &mut Desired,
) -> RealServerStates {
    let Unchecked { states, leaving } = unchecked;
    let mut of_ports = BTreeMap::new();
    for key in virtual_service.services_of(vip) {
        let mut differing = BTreeMap::new();
        for (address, state) in &states {
            if let RealServerState::Ready { weight: 1.. } = state
                && let Err(other) = check(virtual_service, key, *address, inputs, desired)
            {
                differing.insert(*address, other);
            }
        }
        let serves = |(address, state): (&IpAddr, &RealServerState)| {
            matches!(state, RealServerState::Ready { weight: 1.. })
                && !differing.contains_key(address)
        };
        if !states.iter().any(serves) {
            for (address, weight) in &leaving {
                match check(virtual_service, key, *address, inputs, desired) {
                    Ok(()) => {
                        let state = RealServerState::Ready { weight: *weight };
                        differing.insert(*address, state);
                    }
                    Err(unknown @ RealServerState::Unknown(_)) => {
                        differing.insert(*address, unknown);
                    }
                    Err(_) => {}
                }
            }
        }
        let gives = |who| gives_some(key, &states, &differing, who, inputs);
        if !gives(Counted::Unknown) {
            as_last_resort(&states, &mut differing, &mut desired.failures, |_| true);
        } else if !gives(Counted::Serving) {
            // Until that is known, those that get connections now go on with them.
            let has_weight = |address: &IpAddr| weighs(key, address, inputs);
            as_last_resort(&states, &mut differing, &mut desired.failures, has_weight);
        }
        if !differing.is_empty() {
            of_ports.insert(key.into(), differing);
        }
    }
    RealServerStates {
        of_vip: states,
        of_ports,
    }
}

/// What the checks of the real server at `address` say of it for `key`, where they do not say that it serves.
fn check(
    virtual_service: &VirtualService,
    key: ServiceKey,
    address: IpAddr,
    inputs: &Inputs<'_>,
    desired: &mut Desired,
) -> Result<(), RealServerState> {
    let holds = inputs.elected.held.contains_key(&key.vip);
    let mut verdict = reported(key, address, inputs);
    for check in checks(virtual_service, key, address, inputs, desired) {
        let judged = judge(&check, inputs, &mut desired.failures);
        if let (Target::Path { .. }, Err(RealServerState::Unready(_))) = (&check.target, &judged) {
            desired.doubtful.insert(address);
        }
        verdict = verdict.and(judged);
        *desired.checks.entry(check).or_default() |= holds;
    }
    verdict
}

/// The checks that say whether the real server at `address` serves `key`.
fn checks(
    virtual_service: &VirtualService,
    key: ServiceKey,
    address: IpAddr,
    inputs: &Inputs<'_>,
    desired: &mut Desired,
) -> Vec<Check> {
    let policy = &virtual_service.health_check;
    let is_tcp = key.protocol == Protocol::Tcp;
    let check = |target| Check {
        address,
        target,
        timers: policy.timers,
    };
    let mut checks = Vec::new();
    if policy.direct_path
        && is_tcp
        && let Some(path) = path(key.vip, address, inputs)
    {
        desired.paths.insert(address, path);
        let ServiceKey { vip, port, .. } = key;
        checks.push(check(Target::Path { vip, port }));
    }
    if let Some(application) = &policy.application {
        let request: ApplicationRequest = application.request.clone();
        let is_asked = request.kind().protocols().contains(&key.protocol);
        if let Some(port) = application.port.or(is_asked.then_some(key.port)) {
            checks.push(check(Target::Application { port, request }));
        }
    }
    checks
}

/// How a SYN reaches the real server at `address` as a client's does; `None` if that cannot be checked: it is this node
/// itself, or this node has no address that the real server could answer.
fn path(vip: IpAddr, address: IpAddr, inputs: &Inputs<'_>) -> Option<Path> {
    let Some(Reach::Neighbour { dev, mac }) = inputs.wire.reach.get(&address) else {
        return None;
    };
    let link = inputs.observed.links.get(dev)?;
    vip.is_ipv4().then_some(Path {
        index: link.index,
        from: link.mac?,
        to: *mac,
        source: source(link, address, inputs)?,
    })
}

/// The address of this node from which `address`, a neighbour on `link`, is asked: one in the same network, else another one
/// to which the real server may have a route.
fn source(link: &Link, address: IpAddr, inputs: &Inputs<'_>) -> Option<Ipv4Addr> {
    let own = || link.networks().map(IpNet::addr);
    let near = link.networks().find(|net| net.contains(&address));
    let near = near.map(IpNet::addr);
    let others = || own().chain(inputs.observed.own_addresses());
    let is_routed = |own: &Ipv4Addr| !own.is_link_local();
    let v4 = |own: IpAddr| match own {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    };
    let far = || others().filter_map(v4).find(is_routed);
    near.and_then(v4).or_else(far)
}

/// Where checks cannot be made, as in a forecast, that this node's agent has reported that the real server fails one.
fn reported(key: ServiceKey, address: IpAddr, inputs: &Inputs<'_>) -> Result<(), RealServerState> {
    let report = match inputs.health {
        Health::Assumed => inputs.snapshot.peers.report(inputs.node),
        Health::Checked(_) => None,
    };
    let group = report.and_then(|report| report.directing(key));
    let group = group.filter(|group| !group.ready.contains(address));
    let refusal = group.and_then(|group| group.unready.get(&address));
    match refusal.filter(|refusal| refusal.reason == Reason::HealthCheckFailed) {
        Some(refusal) => Err(RealServerState::Unready(refusal.clone().into())),
        None => Ok(()),
    }
}

/// What `check` says, where it does not say that the real server serves.
fn judge(
    check: &Check,
    inputs: &Inputs<'_>,
    failures: &mut BTreeSet<Arc<Refusal>>,
) -> Result<(), RealServerState> {
    match inputs.health.verdict(check) {
        Verdict::Up => Ok(()),
        Verdict::Unknown => {
            let message = format!("{check} was not passed yet");
            let refusal = Refusal::new(Reason::Pending, message);
            Err(RealServerState::Unknown(shared(refusal, failures)))
        }
        Verdict::Down(down) => {
            let message = describe(check, &down);
            let refusal = Refusal::new(Reason::HealthCheckFailed, message);
            Err(RealServerState::Unready(shared(refusal, failures)))
        }
    }
}

/// The one copy of `refusal`.
fn shared(refusal: Refusal, known: &mut BTreeSet<Arc<Refusal>>) -> Arc<Refusal> {
    if let Some(known) = known.get(&refusal) {
        return Arc::clone(known);
    }
    let refusal = Arc::new(refusal);
    known.insert(Arc::clone(&refusal));
    refusal
}

fn describe(check: &Check, Down { failure, since }: &Down) -> String {
    let since = Timestamp::from_second(*since).map_or_else(|_| String::new(), |it| it.to_string());
    let fix = match (&check.target, failure) {
        (Target::Path { .. }, Failure::NoAnswer(_)) => {
            ": bind the VIP there, quietly, or let that host's firewall pass it"
        }
        (Target::Path { .. } | Target::Application { .. }, Failure::Closed) => {
            ": start the application there, or let it listen on all addresses"
        }
        (
            Target::Path { .. } | Target::Application { .. },
            Failure::NoAnswer(_)
            | Failure::Unreachable(_)
            | Failure::Garbled(_)
            | Failure::Tls(_)
            | Failure::Status(_)
            | Failure::Body
            | Failure::ServerFailure,
        ) => "",
    };
    format!("{check} has failed since {since}: {failure}{fix}")
}

/// Which real servers count as giving somebody connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Those that get connections.
    Serving,
    /// And those that may pass a check soon.
    Unknown,
}

/// Whether `address` is a destination that gets connections of `key` now.
fn weighs(key: ServiceKey, address: &IpAddr, inputs: &Inputs<'_>) -> bool {
    let service = inputs.observed.net.services.get(&key);
    let destination = service.and_then(|service| service.destinations.get(address));
    destination.is_some_and(|destination| destination.weight > 0)
}

/// Whether anybody of `counted` gets connections of `key`.
fn gives_some(
    key: ServiceKey,
    of_vip: &BTreeMap<IpAddr, RealServerState>,
    differing: &BTreeMap<IpAddr, RealServerState>,
    counted: Counted,
    inputs: &Inputs<'_>,
) -> bool {
    let has_weight = |address: &IpAddr| weighs(key, address, inputs);
    of_vip.iter().any(|(address, state)| {
        match differing.get(address) {
            // By a check, which may be passed soon.
            Some(RealServerState::Unknown(_)) => counted == Counted::Unknown || has_weight(address),
            // Its endpoint is terminating.
            Some(RealServerState::Ready { .. }) => true,
            Some(_) => false,
            None => match state {
                RealServerState::Ready { weight } | RealServerState::LastResort { weight, .. } => {
                    *weight > 0
                }
                RealServerState::Unknown(_) => has_weight(address),
                RealServerState::Unready(_) | RealServerState::Absent => false,
            },
        }
    })
}

/// Gives those of `whom` that fail their checks the weight that they would have.
fn as_last_resort(
    of_vip: &BTreeMap<IpAddr, RealServerState>,
    differing: &mut BTreeMap<IpAddr, RealServerState>,
    failures: &mut BTreeSet<Arc<Refusal>>,
    whom: impl Fn(&IpAddr) -> bool,
) {
    for (address, state) in differing.iter_mut().filter(|(address, _)| whom(address)) {
        if let (RealServerState::Unready(refusal), Some(RealServerState::Ready { weight })) =
            (&*state, of_vip.get(address))
        {
            let message = format!(
                "{}; it gets connections because no real server passes its checks",
                refusal.message
            );
            let refusal = Refusal::new(refusal.reason, message);
            *state = RealServerState::LastResort {
                weight: *weight,
                refusal: shared(refusal, failures),
            };
        }
    }
}
