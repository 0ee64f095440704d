use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::{Dev, Role, ServiceKey},
    plan::Op,
};

use super::{Kernel, OpError, RefusalKind};

/// How many ops the kernel gets in one call, so that messages take memory for one batch and not for the whole plan.
const AT_ONCE: usize = 1024;

/// The result of each op of a plan.
#[derive(Debug, Default)]
pub struct OpResults {
    /// In the plan's order.
    ops: Vec<Op>,
    /// By position: the results other than success.
    undone: BTreeMap<usize, OpResult>,
}

/// The result of one op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// It took effect.
    Applied,
    /// It failed.
    Failed(OpError),
    /// Not tried, because an op that it depends on failed.
    Skipped,
}

impl OpResults {
    /// Each op in the plan's order, with its result.
    pub fn done(&self) -> impl ExactSizeIterator<Item = (&Op, &OpResult)> {
        self.ops.iter().enumerate().map(|(position, op)| {
            let result = self.undone.get(&position).unwrap_or(&OpResult::Applied);
            (op, result)
        })
    }

    /// Whether every op took effect.
    pub fn is_complete(&self) -> bool {
        self.undone.is_empty()
    }

    /// The ops that failed or were skipped.
    pub fn undone(&self) -> impl Iterator<Item = &Op> {
        self.undone
            .keys()
            .filter_map(|position| self.ops.get(*position))
    }

    /// The ops that failed, with their errors.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &OpError)> {
        self.done().filter_map(|(op, result)| match result {
            OpResult::Failed(error) => Some((op, error)),
            OpResult::Applied | OpResult::Skipped => None,
        })
    }
}

/// Applies `ops`, which are sorted by phase, in batches of one phase each. An op that depends on a failed one of an
/// earlier phase is skipped. All others run, and the next pass tries again what is missing.
pub fn execute(kernel: &mut dyn Kernel, ops: Vec<Op>) -> OpResults {
    let mut undone = BTreeMap::new();
    let mut failed = Failed::default();
    let mut position = 0;
    for phase in ops.chunk_by(|a, b| a.phase() == b.phase()) {
        let before = position;
        for batch in phase.chunks(AT_ONCE) {
            for (offset, result) in apply(kernel, batch, &failed) {
                undone.insert(position + offset, result);
            }
            position += batch.len();
        }
        for (place, result) in undone.range(before..) {
            failed.add(&ops[*place], result);
        }
    }
    OpResults { ops, undone }
}

/// The results other than success, by their place in `batch`.
fn apply(kernel: &mut dyn Kernel, batch: &[Op], failed: &Failed) -> BTreeMap<usize, OpResult> {
    let (blocked, free): (Vec<usize>, Vec<usize>) =
        (0..batch.len()).partition(|place| failed.blocks(&batch[*place]));
    let results = if blocked.is_empty() {
        kernel.apply(batch)
    } else if free.is_empty() {
        Vec::new()
    } else {
        let rest: Vec<Op> = free.iter().map(|place| batch[*place].clone()).collect();
        kernel.apply(&rest)
    };
    let skipped = blocked.into_iter().map(|place| (place, OpResult::Skipped));
    let refused = free.into_iter().zip(results).filter_map(|(place, result)| {
        let error = result.err()?;
        Some((place, OpResult::Failed(error)))
    });
    skipped.chain(refused).collect()
}

/// What failed so far in this pass, or was skipped, as far as later ops depend on it. Everything else goes on: one
/// broken part must not keep the others from being served.
#[derive(Default)]
struct Failed {
    /// An interface is not quiet.
    quiet: bool,
    /// Devices that could not be created.
    dummies: BTreeSet<Dev>,
    /// VIPs that could not be added to a device.
    unbound: BTreeSet<IpAddr>,
    /// Services that could not be added.
    services: BTreeSet<ServiceKey>,
    /// Destinations that still have their weight.
    weighted: BTreeSet<(ServiceKey, IpAddr)>,
    /// VIPs that are still on the clients' NIC.
    held: BTreeSet<IpAddr>,
    /// VIPs of which a service is still there.
    served: BTreeSet<IpAddr>,
    /// Devices that still have a VIP.
    bound: BTreeSet<Dev>,
}

impl Failed {
    fn add(&mut self, op: &Op, result: &OpResult) {
        match op {
            // An interface that is gone, or has no IPv4, answers no ARP request.
            Op::Quiet(_) => self.quiet |= !is_without_ipv4(result),
            Op::AddDummy(dev) => {
                self.dummies.insert(dev.clone());
            }
            Op::AddAddress(key, _) => {
                self.unbound.insert(key.ip);
            }
            Op::AddService(key, _) => {
                self.services.insert(*key);
            }
            Op::QuiesceDestination(key, address) => {
                self.weighted.insert((*key, *address));
            }
            Op::DelService(key) => {
                self.served.insert(key.vip);
            }
            Op::DelAddress(key, role) => {
                self.bound.insert(key.dev.clone());
                if *role == Role::Held {
                    self.held.insert(key.ip);
                }
            }
            Op::EditService(..)
            | Op::AddDestination(..)
            | Op::EditDestination(..)
            | Op::DelDestination(..)
            | Op::DelForeignDestination(..)
            | Op::AddRoute(_)
            | Op::DelRoute(_)
            | Op::Restore(_)
            | Op::DelDummy(_)
            | Op::SetIpvs(_)
            | Op::RestoreIpvs(_)
            | Op::StartSync(..)
            | Op::StopSync(_) => {}
        }
    }

    fn blocks(&self, op: &Op) -> bool {
        match op {
            // The node must be quiet and the device exist before a VIP is bound.
            Op::AddAddress(key, Role::Quiet) => self.quiet || self.dummies.contains(&key.dev),
            // Whoever has the VIP on a NIC must accept and forward its packets.
            Op::AddAddress(key, Role::Held) => {
                self.quiet
                    || self.unbound.contains(&key.ip)
                    || self.services.iter().any(|service| service.vip == key.ip)
            }
            Op::AddRoute(key) => self.unbound.contains(&key.ip),
            Op::AddDestination(key, ..)
            | Op::EditDestination(key, ..)
            | Op::QuiesceDestination(key, _) => self.services.contains(key),
            // Connections end before their destination does.
            Op::DelDestination(key, address) => self.weighted.contains(&(*key, *address)),
            Op::DelService(key) => self.held.contains(&key.vip),
            Op::DelAddress(key, Role::Quiet) => {
                self.held.contains(&key.ip) || self.served.contains(&key.ip)
            }
            // A VIP that is still bound must stay quiet, wherever it is.
            Op::Restore(_) => !self.bound.is_empty(),
            Op::RestoreIpvs(_) => !self.served.is_empty(),
            Op::DelDummy(dev) => self.bound.contains(dev),
            Op::AddDummy(_)
            | Op::Quiet(_)
            | Op::SetIpvs(_)
            | Op::DelForeignDestination(..)
            | Op::StartSync(..)
            | Op::StopSync(_)
            | Op::DelAddress(_, Role::Held)
            | Op::DelRoute(_)
            | Op::AddService(..)
            | Op::EditService(..) => false,
        }
    }
}

fn is_without_ipv4(result: &OpResult) -> bool {
    let kind = match result {
        OpResult::Failed(OpError::Refused { kind, .. }) => *kind,
        OpResult::Failed(OpError::Unsent(_)) | OpResult::Applied | OpResult::Skipped => {
            return false;
        }
    };
    matches!(kind, RefusalKind::NoDevice | RefusalKind::NoIpv4)
}

#[cfg(test)]
mod tests {
    use libc::{EAFNOSUPPORT, EIO, ENODEV, ENOENT};

    use super::*;
    use crate::{
        kernel::{KernelError, meaning::refused},
        model::{
            AddressKey, Answer, Arp, Destination, Observed, Protocol, Reach, Scheduler, Service,
        },
        plan::ArpChange,
    };

    /// A kernel that refuses some ops, with this errno.
    struct Refusing(Vec<Op>, i32);

    impl Kernel for Refusing {
        fn observe(&mut self) -> Result<Observed, KernelError> {
            Ok(Observed::default())
        }

        fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
            let result = |op: &Op| {
                if self.0.contains(op) {
                    return Err(refused(op, self.1, "refused"));
                }
                Ok(())
            };
            ops.iter().map(result).collect()
        }

        fn resolve(
            &mut self,
            _: &BTreeSet<IpAddr>,
        ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
            BTreeMap::new()
        }

        fn probe(
            &mut self,
            _: &BTreeSet<AddressKey>,
        ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
            BTreeMap::new()
        }
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn service(vip: u8, port: u16) -> ServiceKey {
        ServiceKey {
            vip: ip(vip),
            port,
            protocol: Protocol::Tcp,
        }
    }

    fn address(dev: &str, vip: u8) -> AddressKey {
        AddressKey::new(dev.parse().unwrap(), ip(vip))
    }

    fn add_service(key: ServiceKey) -> Op {
        let service = Service {
            scheduler: Scheduler::Rr,
            flags: Vec::new(),
            persistence: None,
            destinations: BTreeMap::new(),
        };
        Op::AddService(key, Box::new(service))
    }

    fn add_destination(key: ServiceKey) -> Op {
        Op::AddDestination(key, ip(11), Destination::direct(1))
    }

    fn quiet(dev: &str) -> Op {
        Op::Quiet(ArpChange {
            dev: dev.parse().unwrap(),
            which: Arp::Ignore,
            from: 0,
            to: 1,
        })
    }

    fn restore(dev: &str) -> Op {
        Op::Restore(ArpChange {
            dev: dev.parse().unwrap(),
            which: Arp::Ignore,
            from: 1,
            to: 0,
        })
    }

    /// What is skipped when the first of `ops` is refused.
    fn skipped(ops: &[Op], errno: i32) -> Vec<String> {
        let mut kernel = Refusing(vec![ops[0].clone()], errno);
        let results = execute(&mut kernel, ops.to_vec());
        let skipped = results
            .done()
            .filter(|(_, result)| **result == OpResult::Skipped);
        skipped.map(|(op, _)| op.to_string()).collect()
    }

    fn lines<const N: usize>(ops: [&Op; N]) -> Vec<String> {
        ops.map(ToString::to_string).to_vec()
    }

    #[test]
    fn a_service_that_cannot_be_added_keeps_only_its_own_destinations_from_being_added() {
        let (broken, sound) = (service(100, 80), service(100, 443));
        let ops = [
            add_service(broken),
            add_service(sound),
            add_destination(broken),
            add_destination(sound),
            Op::QuiesceDestination(sound, ip(12)),
            Op::DelDestination(sound, ip(12)),
        ];
        assert_eq!(skipped(&ops, ENOENT), lines([&ops[2]]));
    }

    #[test]
    fn a_destination_that_still_has_weight_is_not_deleted_and_others_are() {
        let key = service(100, 80);
        let ops = [
            Op::QuiesceDestination(key, ip(11)),
            Op::DelDestination(key, ip(11)),
            Op::DelDestination(key, ip(12)),
        ];
        assert_eq!(skipped(&ops, EIO), lines([&ops[1]]));
    }

    #[test]
    fn a_vip_that_stays_on_the_nic_keeps_what_serves_it_and_nothing_else() {
        let (held, other) = (address("eth0", 100), address("eth0", 101));
        let ops = [
            Op::DelAddress(held, Role::Held),
            Op::DelAddress(other, Role::Held),
            Op::DelService(service(100, 80)),
            Op::DelService(service(101, 80)),
            Op::DelAddress(address("lo", 100), Role::Quiet),
            Op::DelAddress(address("lo", 101), Role::Quiet),
            restore("eth0"),
        ];
        assert_eq!(skipped(&ops, EIO), lines([&ops[2], &ops[4], &ops[6]]));
    }

    #[test]
    fn a_service_that_stays_keeps_its_vip_bound_and_the_node_quiet() {
        let ops = [
            Op::DelService(service(100, 80)),
            Op::DelAddress(address("lo", 100), Role::Quiet),
            Op::DelAddress(address("lo", 101), Role::Quiet),
            restore("eth0"),
        ];
        assert_eq!(skipped(&ops, EIO), lines([&ops[1], &ops[3]]));
    }

    #[test]
    fn a_change_that_fails_keeps_nothing_from_being_undone() {
        for broken in [
            add_service(service(100, 80)),
            Op::AddRoute(address("lo", 100)),
            add_destination(service(100, 80)),
        ] {
            let ops = [
                broken,
                Op::DelAddress(address("lo", 101), Role::Quiet),
                Op::DelDummy("vip0".parse().unwrap()),
                restore("eth0"),
            ];
            assert_eq!(skipped(&ops, EIO), lines([]));
        }
    }

    #[test]
    fn nothing_is_bound_while_an_interface_answers_but_one_that_is_gone_answers_nothing() {
        let ops = [
            quiet("veth7"),
            quiet("eth0"),
            Op::AddAddress(address("lo", 100), Role::Quiet),
        ];
        assert_eq!(skipped(&ops, EIO), lines([&ops[2]]));
        for harmless in [ENODEV, EAFNOSUPPORT] {
            assert_eq!(skipped(&ops, harmless), lines([]), "errno {harmless}");
        }
    }

    #[test]
    fn a_vip_that_cannot_be_bound_is_no_other_s_business() {
        let (one, other) = (address("lo", 100), address("lo", 101));
        let ops = [
            Op::AddAddress(one.clone(), Role::Quiet),
            Op::AddAddress(other.clone(), Role::Quiet),
            Op::AddRoute(one),
            Op::AddRoute(other),
            add_service(service(100, 80)),
        ];
        assert_eq!(skipped(&ops, EIO), lines([&ops[2]]));
    }
}
