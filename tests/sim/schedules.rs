//! Nodes in any order, with restarts and configuration changes in between, and with reports that arrive late: up to a
//! second, as an API server allows.

use proptest::prelude::*;

use crate::{
    cluster::{Cluster, Talk},
    site::{NODES, dns, web},
};

#[derive(Clone, Debug)]
enum Step {
    Pass(&'static str),
    Publish(&'static str),
    Restart(&'static str),
    Create(bool),
    Delete(bool),
    Unlabel(&'static str),
    Label(&'static str),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let node = || prop::sample::select(NODES.to_vec());
    let backend = || prop::sample::select(crate::site::BACKENDS.to_vec());
    prop_oneof![
        12 => node().prop_map(Step::Pass),
        8 => node().prop_map(Step::Publish),
        1 => node().prop_map(Step::Restart),
        2 => any::<bool>().prop_map(Step::Create),
        1 => any::<bool>().prop_map(Step::Delete),
        1 => backend().prop_map(Step::Unlabel),
        2 => backend().prop_map(Step::Label),
        2 => (1u64..6).prop_map(Step::Wait),
    ]
}

fn which(web_or_dns: bool) -> directway::model::VirtualService {
    if web_or_dns { web() } else { dns() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_is_safe_and_ends_the_same(
        steps in prop::collection::vec(steps(), 20..120),
        talk in prop::sample::select(vec![Talk::Reports, Talk::Wire]),
    ) {
        let mut cluster = Cluster::new(talk);
        let before = cluster.state();
        let labels = cluster.snapshot.nodes.clone();
        for step in &steps {
            match step {
                Step::Pass(name) => {
                    cluster.silent_pass(name);
                }
                Step::Publish(name) => cluster.publish(name),
                Step::Restart(name) => cluster.restart(name),
                Step::Create(it) => cluster.apply(which(*it)),
                Step::Delete(it) => cluster.delete(&which(*it)),
                Step::Unlabel(name) => cluster.node(name).labels.clear(),
                Step::Label(name) => {
                    *cluster.node(name) = labels[&(*name).into()].clone();
                }
                Step::Wait(seconds) => {
                    for _ in 0..*seconds {
                        cluster.round();
                    }
                }
            }
        }
        cluster.snapshot.nodes = labels;
        cluster.apply(web());
        cluster.delete(&dns());
        cluster.settle();
        cluster.safety.check(&cluster.story);
        let spread = cluster.answers(crate::site::VIP, 80, directway::model::Protocol::Tcp, 9);
        prop_assert_eq!(spread, crate::cluster::answers([("r1", 3), ("r2", 3), ("r3", 3)]), "{}", cluster.story);
        cluster.delete(&web());
        cluster.settle();
        cluster.safety.check(&cluster.story);
        prop_assert_eq!(cluster.state(), before, "{}", cluster.story);
    }
}
