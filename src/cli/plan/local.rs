//! The plan for one node: its agent's next passes, if the other nodes stay as they are.

use std::{collections::BTreeSet, path::Path};

use crate::{
    cli::{Failure, Observation},
    desired::{Admission, admit, clients_nic, placement, questions, reserved},
    forecast::{Assumed, EvidenceSource, ForecastCluster, ForecastNode, settle},
    kernel::{Kernel, KernelError, linux::Linux},
    model::{AddressKey, Elected, Ledger, NodeName, Observed, Snapshot, WireEvidence},
};

use super::{
    Args,
    document::{Document, Refused, by_node, refusals_of},
    read,
};

pub(super) fn plan(args: &Args) -> Result<Document, Failure> {
    let node = args.node.name()?;
    let input = args.source.read(&args.kube)?;
    let snapshot = &input.snapshot;
    let admission = admit(snapshot);
    let mut notes = input.problems;
    let here = match &args.observed {
        Some(file) => {
            notes.push("on the wire, every real server in a network of the node was taken as reachable, and the VIPs as free".to_owned());
            let (observed, ledger) = from_file(file)?;
            let own = snapshot.nodes.get(&node).into_iter();
            let assumed = Assumed {
                own: own.flat_map(|node| node.addresses.clone()).collect(),
                ..Assumed::default()
            };
            world_node(observed, ledger, EvidenceSource::Assumed(assumed))
        }
        None => {
            let mut kernel = Linux::open()?;
            let observed = kernel.observe()?;
            let ledger = args.run_dir.ledger(&observed)?;
            let wire = ask(&mut kernel, &node, snapshot, &admission, &observed)?;
            world_node(observed, ledger, EvidenceSource::Asked(wire))
        }
    };
    if !snapshot.nodes.contains_key(&node) {
        notes.push(format!(
            "{} has no node {node}: without labels it has no part in anything, and all that is directway's would be taken away; name the node with --node",
            args.source.source
        ));
    }
    let mut world = ForecastCluster {
        nodes: [(node.clone(), here)].into(),
        lately: input.holders.clone(),
    };
    let forecast = settle(snapshot, &mut world);
    let mut refusals: BTreeSet<Refused> = admission
        .refused
        .iter()
        .map(|(key, refusal)| Refused::new(key, None, refusal))
        .collect();
    if let Some(end) = forecast.nodes.get(&node) {
        for (key, vs_state) in &end.virtual_services {
            let refused = refusals_of(vs_state);
            refusals.extend(refused.map(|refusal| Refused::new(key, Some(&node), refusal)));
        }
        notes.extend(end.notes.clone());
    }
    Ok(Document {
        nodes: by_node(&forecast),
        refusals: refusals.into_iter().collect(),
        notes,
    })
}

fn world_node(observed: Observed, ledger: Ledger, wire: EvidenceSource) -> ForecastNode {
    ForecastNode {
        reserved: reserved(&observed, &ledger, &BTreeSet::new()),
        observed,
        ledger,
        wire,
        ..ForecastNode::default()
    }
}

fn from_file(path: &Path) -> Result<(Observed, Ledger), Failure> {
    let text = read("--observed", path)?;
    let refuse = |cause: String| {
        Failure::Usage(format!(
            "--observed {}: {cause}; it reads what `directway observe -o json` or `-o yaml` prints",
            path.display()
        ))
    };
    // YAML 1.2 is a superset of JSON.
    let document: Observation = serde_saphyr::from_str(&text)
        .map_err(|error| refuse(error.without_snippet().to_string()))?;
    document
        .to_model()
        .map_err(|error| refuse(error.to_string()))
}

/// Sends the ARP requests and probes that the agent would send. They change nothing.
fn ask(
    kernel: &mut dyn Kernel,
    node: &NodeName,
    snapshot: &Snapshot,
    admission: &Admission<'_>,
    observed: &Observed,
) -> Result<WireEvidence, Failure> {
    let asked = questions(node, snapshot, admission, observed, &Elected::default());
    // Also probe the VIPs that this node would claim.
    let placement = placement(snapshot, admission);
    let here = admission.accepted.values().flat_map(|it| {
        let vips = it.vips.iter();
        let vips = vips.filter(|vip| placement.first(**vip) == Some(node));
        let interface = it.directors.interface.as_ref();
        vips.filter_map(move |vip| {
            let nic = clients_nic(interface, *vip, observed).ok()?;
            Some(AddressKey::new(nic.dev.clone(), *vip))
        })
    });
    let targets: BTreeSet<AddressKey> = asked.silence.iter().cloned().chain(here).collect();
    let answers = kernel.probe(&targets).into_iter();
    let answers = answers.map(|(key, answer)| Ok((key.ip, answer?)));
    let reach = kernel.resolve(&asked.reach).into_iter();
    let reach = reach.map(|(address, reach)| Ok((address, reach?)));
    Ok(WireEvidence {
        answers: answers.collect::<Result<_, KernelError>>()?,
        reach: reach.collect::<Result<_, KernelError>>()?,
    })
}
