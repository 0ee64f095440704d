//! The schema's lists and sentences that name all members of a closed set of the model, made from the set.

use schemars::Schema;
use serde_json::{Value, json};

use crate::model::{
    ArpMode, CheckType, CordonPolicy, Flag, HttpMethod, Protocol, ReservedAs, Scheduler, TakeCause,
    listed,
};

pub(super) fn protocols() -> [&'static str; Protocol::ALL.len()] {
    Protocol::ALL.map(Protocol::name)
}

pub(super) fn protocol() -> String {
    format!("The transport protocol: {}.", listed(&protocols(), "or"))
}

pub(super) fn arp_modes() -> [&'static str; ArpMode::ALL.len()] {
    ArpMode::ALL.map(ArpMode::name)
}

pub(super) fn cordon_policies() -> [&'static str; CordonPolicy::ALL.len()] {
    CordonPolicy::ALL.map(CordonPolicy::name)
}

pub(super) fn check_types() -> [&'static str; CheckType::ALL.len()] {
    CheckType::ALL.map(CheckType::name)
}

pub(super) fn check_type() -> String {
    let types = listed(&check_types(), "or");
    format!(
        "What each director asks the application besides, at the real server's own address: {types}."
    )
}

/// The types that ask an application.
pub(super) fn asking_types() -> Vec<&'static str> {
    let all = CheckType::ALL.into_iter();
    let asking = all.filter(|it| *it != CheckType::None);
    asking.map(CheckType::name).collect()
}

/// The types that ask ports of this protocol.
pub(super) fn types_asking(protocol: Protocol) -> Vec<&'static str> {
    let all = CheckType::ALL.into_iter();
    let asking = all.filter(|it| it.protocols().contains(&protocol));
    asking.map(CheckType::name).collect()
}

/// The types to which `spec.healthCheck.http` belongs.
pub(super) fn http_types() -> Vec<&'static str> {
    [CheckType::Http, CheckType::Https]
        .map(CheckType::name)
        .into()
}

/// The types to which `spec.healthCheck.tls` belongs.
pub(super) fn tls_types() -> Vec<&'static str> {
    vec![CheckType::Https.name()]
}

/// The types to which `spec.healthCheck.dns` belongs.
pub(super) fn dns_types() -> Vec<&'static str> {
    vec![CheckType::Dns.name()]
}

pub(super) fn http_methods() -> [&'static str; HttpMethod::ALL.len()] {
    HttpMethod::ALL.map(HttpMethod::name)
}

pub(super) fn schedulers() -> Vec<String> {
    Scheduler::ALL.map(|it| it.to_string()).into()
}

pub(super) fn scheduler_name() -> String {
    let names = listed(&schedulers(), "or");
    format!("The scheduler's name as ipvsadm knows it: {names}.")
}

/// Schedulers that have flags, the default one first.
pub(super) fn flagged() -> Vec<Scheduler> {
    let all = Scheduler::ALL.into_iter().rev();
    all.filter(|it| !it.flags().is_empty()).collect()
}

pub(super) fn flagged_names() -> Vec<String> {
    flagged().iter().map(ToString::to_string).collect()
}

/// The names of a scheduler's flags.
pub(super) fn flags_of(scheduler: &Scheduler) -> Vec<String> {
    let flags = scheduler.flags().iter();
    flags.map(|(flag, _)| flag.name(scheduler)).collect()
}

/// The flags that a scheduler has if none are named.
pub(super) fn default_flags(scheduler: &Scheduler) -> impl Iterator<Item = Flag> {
    let flags = scheduler.flags().iter();
    flags.filter_map(|(flag, default)| default.then_some(*flag))
}

pub(super) fn default_flag_names(scheduler: &Scheduler) -> Vec<String> {
    let flags = default_flags(scheduler);
    flags.map(|flag| flag.name(scheduler)).collect()
}

pub(super) fn flags() -> Vec<String> {
    flagged().iter().flat_map(flags_of).collect()
}

/// How many flags one scheduler can have.
pub(super) fn most_flags() -> usize {
    let counts = Scheduler::ALL.map(|it| it.flags().len());
    counts.into_iter().max().unwrap_or(0)
}

pub(super) fn longest_flag() -> usize {
    let lengths = flags().into_iter().map(|it| it.len());
    lengths.max().unwrap_or(0)
}

pub(super) fn scheduler_flags() -> String {
    let of = |scheduler: &Scheduler, flags: Vec<String>| {
        format!("{} for {scheduler}", listed(&flags, "and"))
    };
    let all: Vec<String> = flagged().iter().map(|it| of(it, flags_of(it))).collect();
    let defaults = flagged();
    let defaults = defaults.iter().map(|it| of(it, default_flag_names(it)));
    let defaults: Vec<String> = defaults.collect();
    format!(
        "The scheduler's flags: {}. The -port ones hash the\nclient's port too; the -fallback ones pass over a real server that has weight 0, whose share of new connections\nis refused without them. Default: {}, none for all others.",
        all.join(", "),
        defaults.join(", ")
    )
}

pub(super) fn reserved_as() -> String {
    let words = ReservedAs::ALL.map(ReservedAs::name);
    format!("What they are to it: {}.", listed(&words, "or"))
}

/// Adopted VIPs have not moved, so no report names that cause.
pub(super) fn causes() -> String {
    let causes = TakeCause::ALL.into_iter();
    let causes = causes.filter(|it| *it != TakeCause::Adopted);
    let causes: Vec<&str> = causes.map(TakeCause::name).collect();
    format!("Why: {}.", listed(&causes, "or"))
}

/// Bounds a label's value (Kubernetes allows 63 characters).
pub(super) fn bound_labels(schema: &mut Schema) {
    if let Some(Value::Object(value)) = schema.get_mut("additionalProperties") {
        value.insert("maxLength".to_owned(), json!(63));
    }
}

/// Bounds the texts of conditions as `k8s.io/apimachinery/pkg/apis/meta/v1` does for `metav1.Condition`, which
/// k8s-openapi leaves out.
pub(super) fn bound_conditions(schema: &mut Schema) {
    let bounds = [("message", 32_768), ("reason", 1024), ("type", 316)];
    let bounds = bounds
        .into_iter()
        .chain([("status", 7), ("lastTransitionTime", 64)]);
    for (field, max) in bounds {
        if let Some(Value::Object(text)) = schema
            .get_mut("items")
            .and_then(|items| items.get_mut("properties")?.get_mut(field))
        {
            text.insert("maxLength".to_owned(), json!(max));
        }
    }
}
