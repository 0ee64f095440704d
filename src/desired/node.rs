use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::model::{
    AddressKey, Dev, Elected, IpvsSetting, Ledger, NodeName, NodeNet, Observed, Refusal, Role,
    Service, ServiceKey, Snapshot, VirtualService, VsKey, WireEvidence,
};

use super::{
    Admission, MemberId, Members, Memory, backend, director, directors, holder, members,
    quiet::quiet_nics, rivals::refuse_rivals,
};

/// All that one node's decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// What the sources say.
    pub snapshot: &'a Snapshot,
    /// Which VirtualServices are served, from [`super::admit`].
    pub admission: &'a Admission<'a>,
    /// What the kernel shows.
    pub observed: &'a Observed,
    /// What is ours.
    pub ledger: &'a Ledger,
    /// What the wire answered.
    pub wire: &'a WireEvidence,
    /// Who holds what. `None`: there is no election, and whoever is preferred holds it; so it is in a forecast.
    pub elected: Option<&'a Elected>,
    /// What the last pass remembered.
    pub memory: &'a Memory,
    /// The agent's monotonic clock.
    pub now: Duration,
}

/// What one node should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Its network.
    pub net: Arc<NodeNet>,
    /// VIPs that this node may hold if it is elected, and on which NIC.
    pub candidacies: BTreeMap<IpAddr, Dev>,
    /// Per VirtualService in which this node has a part: how it stands.
    pub verdicts: BTreeMap<VsKey, Verdict>,
    /// For people: why some things are not done.
    pub notes: Vec<String>,
    /// To be given to the next pass.
    pub memory: Memory,
}

impl Desired {
    /// Whether this address stays only until nobody relies on it any more. It is no longer to be reported as bound:
    /// a director that learnt of it late would send packets to where nothing is.
    pub fn is_leaving(&self, key: &AddressKey) -> bool {
        self.memory.unwanted.contains_key(key)
    }

    /// Whether this node may hold this VIP on this NIC.
    pub fn may_hold(&self, key: &AddressKey) -> bool {
        self.candidacies.get(&key.ip) == Some(&key.dev)
    }
}

/// A VirtualService as one node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// What keeps this node from its part; `None` = nothing.
    pub refusal: Option<Refusal>,
    /// Whether this node is one of its real servers.
    pub is_real_server: bool,
    /// Per VIP on this director its real servers' states. No map: there are 10,000 of these, with one or two VIPs each.
    pub members: Vec<(IpAddr, BTreeMap<IpAddr, MemberState>)>,
    /// Destinations that left the spec and keep their connections.
    pub draining: BTreeSet<IpAddr>,
}

impl Verdict {
    /// The real servers of `vip`, if it is on this director.
    pub fn members_of(&self, vip: IpAddr) -> Option<&BTreeMap<IpAddr, MemberState>> {
        let found = self.members.iter().find(|(of, _)| *of == vip);
        found.map(|(_, members)| members)
    }
}

/// A real server as a director sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// May get new connections.
    Ready {
        /// With this weight.
        weight: u32,
    },
    /// May not.
    Unready(Box<Refusal>),
    /// Nobody can tell yet: whatever it gets now, it goes on getting.
    Unknown(Box<Refusal>),
    /// Is selected, but none now: no endpoint of the Service runs there.
    Absent,
}

/// What `inputs.node` should be. Pure: the same inputs give the same answer.
pub fn desired(inputs: &Inputs<'_>) -> Desired {
    let mut desired = Desired::default();
    let wanted = inputs.admission.accepted.iter();
    for (key, virtual_service) in wanted.filter(|_| inputs.snapshot.undo.is_none()) {
        let may_hold = directors(virtual_service, inputs.snapshot).any(|name| name == inputs.node);
        let is_director = may_hold || holds(virtual_service, inputs.elected);
        let mut verdict = Verdict::default();
        let mut has_part = is_director;
        for vip in &virtual_service.vips {
            let members = members(virtual_service, *vip, inputs.snapshot);
            let me = MemberId::Node(inputs.node.clone());
            verdict.is_real_server |= members.by_address.values().any(|member| member.id == me);
            has_part |= verdict.is_real_server || members.refused.contains_key(inputs.node);
            if let Some(refusal) = members.refused.get(inputs.node) {
                verdict.refusal.get_or_insert_with(|| refusal.clone());
            }
            // One VIP that cannot be served leaves the other family's alone.
            if let Err(refusal) = serve_vip(
                virtual_service,
                *vip,
                Part {
                    serves: is_director,
                    may_hold,
                },
                &members,
                inputs,
                &mut verdict,
                &mut desired,
            ) {
                verdict.refusal.get_or_insert(refusal);
            }
        }
        if has_part {
            desired.verdicts.insert((*key).clone(), verdict);
        }
    }
    let Desired {
        net, notes, memory, ..
    } = &mut desired;
    backend::keep_while_directed(inputs, Arc::make_mut(net), memory, notes);
    desired
}

/// Whether `node` has the services of `virtual_service`: as a director that may hold its VIPs, or as one that no longer may
/// and serves them until its successor does.
pub(super) fn directs(
    virtual_service: &VirtualService,
    node: &NodeName,
    snapshot: &Snapshot,
    elected: Option<&Elected>,
) -> bool {
    directors(virtual_service, snapshot).any(|name| name == node) || holds(virtual_service, elected)
}

/// Whether this node holds any of the VIPs of `virtual_service`.
fn holds(virtual_service: &VirtualService, elected: Option<&Elected>) -> bool {
    let held = |vip| elected.and_then(|elected| elected.held.get(vip));
    let mut devices = virtual_service.vips.iter().filter_map(held).flatten();
    // A NIC as quiet device is no claim.
    devices.any(|dev| *dev != virtual_service.real_servers.device)
}

/// Adds what the node's administrator wants of IPVS, as long as the node has a service at all.
pub fn tune(net: &mut NodeNet, settings: &BTreeMap<IpvsSetting, u32>) {
    if !net.services.is_empty() {
        net.ipvs.clone_from(settings);
    }
}

/// A node's part as director of a VirtualService.
#[derive(Clone, Copy)]
struct Part {
    /// It has the services.
    serves: bool,
    /// It may hold the VIPs.
    may_hold: bool,
}

/// Adds this node's part in serving one VIP; on refusal nothing of it is added.
fn serve_vip(
    virtual_service: &VirtualService,
    vip: IpAddr,
    part: Part,
    members: &Members,
    inputs: &Inputs<'_>,
    verdict: &mut Verdict,
    desired: &mut Desired,
) -> Result<(), Refusal> {
    if !part.serves && !verdict.is_real_server {
        return Ok(());
    }
    let policy = &virtual_service.real_servers;
    let (device, host_route) = if verdict.is_real_server {
        (policy.device.clone(), policy.host_route)
    } else {
        (crate::model::Dev::lo(), false)
    };
    let named = virtual_service.directors.interface.as_ref();
    backend::carry(
        vip,
        named,
        &device,
        host_route,
        inputs,
        Arc::make_mut(&mut desired.net),
    )?;
    if quiet_nics(vip, named, inputs.observed).is_empty() {
        desired.notes.push(format!("{vip}: no interface of this node is in its network, so nobody asks this node for it: no ARP step needed"));
    }
    if !part.serves {
        return Ok(());
    }

    let keys: Vec<ServiceKey> = virtual_service
        .ports
        .iter()
        .map(|port| ServiceKey {
            vip,
            port: port.port,
            protocol: port.protocol,
        })
        .collect();
    director::may_serve(vip, &keys, inputs)?;
    let stake = stake(virtual_service, vip, inputs)?;
    if let Stake::Candidate(dev) | Stake::Elected(dev) = &stake
        && part.may_hold
    {
        desired.candidacies.insert(vip, dev.clone());
    }
    // A standby that is also a real server would schedule again what the holder sent it: IPVS hooks
    // LOCAL_IN before the socket.
    let holds = matches!(stake, Stake::Elected(_) | Stake::Preferred(_));
    if !holds && verdict.is_real_server {
        refuse_rivals(vip, &stake, inputs, verdict);
        return Ok(());
    }
    let states = director::states(virtual_service, vip, members, inputs);
    for key in keys {
        let (destinations, draining) =
            director::destinations(key, virtual_service, &states, inputs, &mut desired.memory);
        verdict.draining.extend(draining);
        let service = Service {
            scheduler: virtual_service.scheduler.clone(),
            flags: virtual_service.flags.clone(),
            persistence: virtual_service.persistence(vip),
            destinations,
        };
        Arc::make_mut(&mut desired.net)
            .services
            .insert(key, service);
    }
    verdict.members.reserve_exact(1);
    verdict.members.push((vip, states));
    let rivals = refuse_rivals(vip, &stake, inputs, verdict);
    let claim = match stake {
        Stake::Elected(dev) => Some(AddressKey::new(dev, vip)),
        Stake::Preferred(dev) => {
            let claim = AddressKey::new(dev, vip);
            let held = inputs.observed.net.addresses.contains_key(&claim);
            (held || !rivals).then_some(claim)
        }
        Stake::Candidate(_) | Stake::Reserve => None,
    };
    if let Some(claim) = claim {
        Arc::make_mut(&mut desired.net)
            .addresses
            .insert(claim, Role::Held);
    }
    Ok(())
}

/// How a director stands to a VIP, and on which NIC.
pub(super) enum Stake {
    /// It holds it.
    Elected(Dev),
    /// It holds it if it is elected.
    Candidate(Dev),
    /// There is no election, and it is the one.
    Preferred(Dev),
    /// There is no election, and another is the one.
    Reserve,
}

fn stake(
    virtual_service: &VirtualService,
    vip: IpAddr,
    inputs: &Inputs<'_>,
) -> Result<Stake, Refusal> {
    let named = virtual_service.directors.interface.as_ref();
    let nic = || director::clients_nic(named, vip, inputs.observed);
    match inputs.elected.filter(|_| is_elected(vip)) {
        Some(elected) => {
            let dev = nic()?.dev.clone();
            let claim = AddressKey::new(dev.clone(), vip);
            Ok(if elected.holds_on(&claim) {
                Stake::Elected(dev)
            } else {
                Stake::Candidate(dev)
            })
        }
        None if holder(virtual_service, vip, inputs.snapshot) == Some(inputs.node) => {
            Ok(Stake::Preferred(nic()?.dev.clone()))
        }
        None => Ok(Stake::Reserve),
    }
}

/// Whether directors elect who holds `vip`.
pub fn is_elected(vip: IpAddr) -> bool {
    // The election's frames are ARP so far.
    vip.is_ipv4()
}
