//! kube-proxy in ipvs mode on the director.

use super::*;
use crate::{
    model::{KubeProxy, ProxyAnswer, Refusal},
    plan::Op,
};

fn excluding(cidrs: &[&str]) -> ProxyAnswer {
    ProxyAnswer::Config(KubeProxy {
        mode: "ipvs".to_owned(),
        exclude_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    })
}

impl World {
    /// Applies `op` to the director's kernel as another program would.
    fn meddle(&mut self, op: Op) {
        let results = self.lan.kernel("d").apply(&[op]);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    /// The director's warnings after a pass, with `answer` from kube-proxy.
    fn warned(&mut self, answer: ProxyAnswer) -> Vec<Reason> {
        self.agent("d").passes.hear_kube_proxy(answer);
        let (_, report) = self.pass("d");
        let warnings = report.unwrap().warnings;
        assert!(warnings.values().all(|vips| vips.contains(VIP)));
        let reasons = warnings.keys().map(|Refusal { reason, .. }| *reason);
        reasons.collect()
    }
}

#[test]
fn kube_proxy_is_warned_of_before_and_after_it_deletes() {
    let mut world = World::new(true);
    world.settle();
    let before = world.look("d").net.services;
    world.meddle(Op::AddDummy("kube-ipvs0".parse().unwrap()));
    assert_eq!(world.warned(ProxyAnswer::NotAsked), []);
    assert_eq!(world.warned(excluding(&["10.0.0.0/24"])), []);
    assert_eq!(
        world.warned(ProxyAnswer::Silence),
        [Reason::KubeProxyUnknown]
    );
    assert_eq!(world.warned(excluding(&[])), [Reason::KubeProxyIpvs]);

    let mut kernel = world.lan.kernel("d");
    assert!(!world.agent("d").passes.finds_drift(&mut kernel));
    world.meddle(Op::DelService(*before.keys().next().unwrap()));
    assert!(world.agent("d").passes.finds_drift(&mut kernel));
    assert_eq!(world.warned(excluding(&[])), [Reason::KubeProxyDeletes]);
    assert_eq!(world.look("d").net.services, before, "put back");
    assert!(!world.agent("d").passes.finds_drift(&mut kernel));
    world.now += Duration::from_secs(200);
    assert_eq!(
        world.warned(ProxyAnswer::Silence),
        [Reason::KubeProxyDeletes]
    );
    assert_eq!(world.warned(excluding(&["10.0.0.0/24"])), []);
    world.now += Duration::from_secs(200);
    assert_eq!(
        world.warned(excluding(&[])),
        [Reason::KubeProxyIpvs],
        "long ago"
    );
}

#[test]
fn only_who_directs_meets_kube_proxy() {
    let mut world = World::new(true);
    world.settle();
    world.meddle(Op::AddDummy("kube-ipvs0".parse().unwrap()));
    world.delete();
    world.settle();
    assert_eq!(world.warned(excluding(&[])), []);
    let mut kernel = world.lan.kernel("d");
    let agent = world.agent("d");
    let view = PassInput {
        snapshot: agent.store.snapshot(),
        complete: true,
        fresh: true,
    };
    let end = agent.passes.run(&mut kernel, view, Duration::ZERO);
    assert!(!end.state.unwrap().meets_kube_proxy());
}
