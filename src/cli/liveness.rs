//! Which agents are silent, by the controller's rule, for a subcommand that looks once.

use crate::{
    cluster::{HeartbeatAges, HeartbeatError, heartbeat_ages},
    controller::{AgentState, Silence, is_silence, silence},
    model::{NodeName, Snapshot},
};

use super::{
    Failure,
    kubernetes::{KubeArgs, block_on, not_listed},
};

/// How many nodes a note names.
const NAMED: usize = 3;

/// The option `--lease-namespace`.
#[derive(Clone, Debug, clap::Args)]
pub struct LeaseArgs {
    /// The namespace in which directway runs: the agents' heartbeats are there
    #[arg(long, value_name = "NAMESPACE", default_value = "directway-system")]
    lease_namespace: String,
}

/// How old the agents' heartbeats are, or why that is not known.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    namespace: String,
    ages: Result<HeartbeatAges, String>,
}

impl LeaseArgs {
    /// Reads the heartbeats once. A user who may not read them learns that from [`Liveness::doubt`].
    pub(super) fn look(&self, kube: &KubeArgs) -> Result<Liveness, Failure> {
        let namespace = &self.lease_namespace;
        let ages = block_on(async {
            let client = kube.client().await?;
            Ok::<_, Failure>(heartbeat_ages(&client, namespace).await)
        })??;
        let ages = ages.map_err(|error| match error {
            HeartbeatError::Unlisted(error) => not_listed(&error).to_string(),
            HeartbeatError::NoDate => error.to_string(),
        });
        Ok(Liveness::new(namespace, ages))
    }
}

impl Liveness {
    /// What is known of the heartbeats in `namespace`.
    pub(super) fn new(namespace: &str, ages: Result<HeartbeatAges, String>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ages,
        }
    }

    /// Why what `name` reported last may be no longer so; `None` also if that is not known.
    pub(super) fn silence(&self, name: &NodeName, snapshot: &Snapshot) -> Option<Silence> {
        let ages = self.ages.as_ref().ok();
        let age = ages.and_then(|ages| ages.get(name).copied().flatten());
        let agent = match age {
            Some(age) if is_silence(age) => AgentState::Silent,
            Some(_) => AgentState::Alive,
            None => AgentState::Unheard,
        };
        silence(snapshot.nodes.get(name), agent, age)
    }

    /// A note if it is not known whether the agents of some of `nodes` run.
    pub(super) fn doubt<'a>(&self, nodes: impl Iterator<Item = &'a NodeName>) -> Option<String> {
        let namespace = &self.namespace;
        let ages = match &self.ages {
            Ok(ages) => ages,
            Err(cause) => {
                return Some(format!(
                    "which agents are silent is not known, so a standby may have none that runs: {cause}; whoever asks needs \
                     the right to list leases (coordination.k8s.io) in the namespace of directway, {namespace} unless \
                     --lease-namespace names another"
                ));
            }
        };
        let unknown: Vec<&NodeName> = nodes
            .filter(|name| ages.get(name).copied().flatten().is_none())
            .collect();
        let named: Vec<String> = unknown
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        let named = named.join(", ");
        let more = match unknown.len() {
            0 => return None,
            few if few <= NAMED => String::new(),
            many => format!(" and {} more", many - NAMED),
        };
        Some(format!(
            "whether the agents of {named}{more} run is not known: namespace {namespace} has no heartbeat of theirs \
             (Lease directway-agent-NODE); --lease-namespace names the namespace of directway"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Node;

    #[test]
    fn an_agent_is_silent_by_the_controllers_rule() {
        let age = |seconds| Some(Duration::from_secs(seconds));
        let ages = [("a", age(59)), ("b", age(60)), ("c", age(1)), ("d", None)];
        let ages = ages.map(|(name, age)| (name.into(), age));
        let liveness = Liveness::new("ns", Ok(ages.into()));
        let silent_machine = Node {
            silent: true,
            ..Node::default()
        };
        let snapshot = Snapshot {
            nodes: [("c".into(), silent_machine)].into(),
            ..Snapshot::default()
        };
        let found = ["a", "b", "c", "d", "e"].map(|it| liveness.silence(&it.into(), &snapshot));
        let b = Some(Silence::Agent(age(60)));
        assert_eq!(found, [None, b, Some(Silence::Kubelet), None, None]);
        let all = ["a", "b", "c", "d", "e"].map(NodeName::from);
        let doubt = liveness.doubt(all.iter()).unwrap();
        assert!(
            doubt.contains("the agents of d, e run is not known"),
            "{doubt}"
        );
        assert_eq!(liveness.doubt(all[..3].iter()), None);
    }

    #[test]
    fn who_may_not_read_heartbeats_is_told_what_is_not_known_and_what_right_that_needs() {
        let liveness = Liveness::new("ns", Err("list Leases: forbidden".to_owned()));
        let a = NodeName::from("a");
        assert_eq!(liveness.silence(&a, &Snapshot::default()), None);
        let doubt = liveness.doubt([&a].into_iter()).unwrap();
        for part in [
            "which agents are silent is not known",
            "forbidden",
            "list leases",
            "ns",
        ] {
            assert!(doubt.contains(part), "{part}: {doubt}");
        }
    }
}
