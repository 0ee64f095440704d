use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Unit,
};

use crate::model::{Conflict, Dev, IpRanges, Reason};

/// What the last pass found, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// IPVS services of ours in the kernel.
    pub services: usize,
    /// Their destinations in the kernel with weight.
    pub real_servers_ready: usize,
    /// Real servers that get no new connections, by the reason why.
    pub real_servers_unready: BTreeMap<Reason, usize>,
    /// Destinations in the kernel that get no new connections but keep their old ones.
    pub real_servers_draining: usize,
    /// VIPs on the clients' NIC.
    pub vips_held: IpRanges,
    /// VIPs that other hosts answer for.
    pub conflicts: BTreeMap<(IpAddr, Dev), Conflict>,
    /// VIPs carried quietly.
    pub vips_bound: usize,
    /// VirtualServices that this node cannot do its part for, by the reason why.
    pub refused: BTreeMap<Reason, usize>,
    /// VIPs whose services another program on this node deletes or may delete, by the reason.
    pub endangered: BTreeMap<Reason, usize>,
    /// Seconds since the epoch of the last pass in which nothing failed.
    pub last_success: Option<f64>,
    /// Whether the agent is ready.
    pub ready: bool,
    /// Whether passes work with a snapshot on disk.
    pub on_last_known: bool,
    /// Manifests that could never be read completely, which holds back every removal.
    pub unread_manifests: usize,
    /// Sources that have synced, by name.
    pub synced: BTreeMap<&'static str, bool>,
}

/// Encodes the gauges as they are at scrape time.
#[derive(Debug)]
pub(super) struct Snapshot(pub Arc<Mutex<Gauges>>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        plain(&gauges, &mut encoder)?;
        of_vips(&gauges, &mut encoder)?;
        of_reasons(&gauges, &mut encoder)
    }
}

/// Gauges without labels.
fn plain(gauges: &Gauges, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut plain = |name, help, value: usize| {
        let gauge = ConstGauge::new(number(value));
        let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(metric)
    };
    plain("services", "IPVS services of directway", gauges.services)?;
    plain(
        "vips_held",
        "VIPs that this node answers ARP for",
        usize::try_from(gauges.vips_held.len()).unwrap_or(usize::MAX),
    )?;
    plain(
        "vips_bound",
        "VIPs that this node carries quietly",
        gauges.vips_bound,
    )?;
    plain("ready", "Whether the agent is ready", gauges.ready.into())?;
    plain(
        "serving_last_known",
        "Whether the agent works with what was on disk, because a source could not be read since its start",
        gauges.on_last_known.into(),
    )?;
    plain(
        "unread_manifests",
        "Manifests that could never be read completely: until they are, nothing is removed",
        gauges.unread_manifests,
    )?;
    if let Some(at) = gauges.last_success {
        let gauge = ConstGauge::new(at);
        let metric = encoder.encode_descriptor(
            "last_successful_pass_timestamp",
            "When a pass last ended without any failure",
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?;
        gauge.encode(metric)?;
    }
    Ok(())
}

/// One series per VIP.
fn of_vips(gauges: &Gauges, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    family(
        encoder,
        "vip_holder",
        "1 for each VIP that this node answers ARP for",
        gauges
            .vips_held
            .iter()
            .map(|vip| ([("vip", vip.to_string())], 1)),
    )?;
    family(
        encoder,
        "vip_conflict",
        "1 for each host that answers for a VIP of this node, too",
        gauges
            .conflicts
            .iter()
            .flat_map(|(at, conflict)| conflict_labels(at, conflict))
            .map(|labels| (labels, 1)),
    )
}

/// One series per state, reason or source.
fn of_reasons(gauges: &Gauges, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let labelled = |label: &'static str, counts: &BTreeMap<Reason, usize>| {
        let counts = counts.iter();
        let entries = counts.map(|(reason, count)| ([(label, reason.to_string())], *count));
        entries.collect::<Vec<_>>()
    };
    let unready = labelled("state", &gauges.real_servers_unready);
    let states = [
        ([("state", "Ready".to_owned())], gauges.real_servers_ready),
        (
            [("state", "Draining".to_owned())],
            gauges.real_servers_draining,
        ),
    ];
    family(
        encoder,
        "real_servers",
        "Destinations of this node's services by state",
        states.into_iter().chain(unready),
    )?;
    family(
        encoder,
        "refused_virtual_services",
        "VirtualServices that this node cannot do its part for, by reason",
        labelled("reason", &gauges.refused),
    )?;
    family(
        encoder,
        "vips_endangered",
        "VIPs whose services somebody on this node deletes or may delete, by reason",
        labelled("reason", &gauges.endangered),
    )?;
    family(
        encoder,
        "source_synced",
        "Whether a source has been read completely",
        gauges
            .synced
            .iter()
            .map(|(name, synced)| ([("source", (*name).to_owned())], usize::from(*synced))),
    )
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Gauges that differ in their labels.
fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    entries: impl IntoIterator<Item = ([(&'static str, String); N], usize)>,
) -> fmt::Result {
    let zero = ConstGauge::new(0i64);
    let mut metric = encoder.encode_descriptor(name, help, None, zero.metric_type())?;
    for (labels, value) in entries {
        let gauge = ConstGauge::new(number(value));
        gauge.encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// One series per rival.
fn conflict_labels<'a>(
    (vip, interface): &'a (IpAddr, Dev),
    conflict: &'a Conflict,
) -> impl Iterator<Item = [(&'static str, String); 5]> + 'a {
    let own = conflict.own.map(|mac| mac.to_string());
    conflict.rivals.iter().map(move |(mac, node)| {
        [
            ("vip", vip.to_string()),
            ("interface", interface.to_string()),
            ("mac", own.clone().unwrap_or_default()),
            ("rival", mac.to_string()),
            (
                "node",
                node.as_ref().map_or(String::new(), ToString::to_string),
            ),
        ]
    })
}
