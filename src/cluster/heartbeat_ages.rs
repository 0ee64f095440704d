//! How old the agents' heartbeats are, for a reader that looks once.
//!
//! The controller watches whether a Lease changes. A reader that looks once cannot, and must not compare the time in the
//! Lease with its own clock, because that time is from another host's. It compares two times of the API server's clock: when
//! the server last recorded a change of `renewTime` (`metadata.managedFields`), and the `Date` of its answer.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{Api, Client, Resource, api::ListParams, client::Body, core::Request};

use super::{ListError, Pace, list};
use crate::{cluster::kinds::heartbeat::node, model::NodeName};

/// The age of each agent's heartbeat; `None` = the API server does not say when it was recorded.
pub type HeartbeatAges = BTreeMap<NodeName, Option<Duration>>;

/// Why the ages are not known.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The Leases cannot be listed.
    #[error(transparent)]
    Unlisted(#[from] ListError),
    /// The answer has no time by which the age could be computed.
    #[error("the API server's answer has no header Date that can be read")]
    NoDate,
}

/// Reads the heartbeats in `namespace` once.
///
/// # Errors
/// The Leases there cannot be listed, or the API server does not tell its time.
pub async fn heartbeat_ages(
    client: &Client,
    namespace: &str,
) -> Result<HeartbeatAges, HeartbeatError> {
    let unlisted = |error| ListError {
        what: format!("Leases of namespace {namespace}"),
        error,
    };
    let now = server_time(client, namespace).await.map_err(unlisted)?;
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let leases = list(&leases, &ListParams::default(), Pace::CONTROLLER.page).await;
    let leases = leases.map_err(unlisted)?;
    // After the list, so that a missing right is named first.
    let now = now.ok_or(HeartbeatError::NoDate)?;
    let ages = leases.iter();
    Ok(ages
        .filter_map(|lease| Some((node(lease)?, age(lease, now))))
        .collect())
}

/// The API server's time, from its answer to a request for one Lease. It stands in the answer's head, whatever the answer is.
async fn server_time(client: &Client, namespace: &str) -> kube::Result<Option<Timestamp>> {
    let request = Request::new(Lease::url_path(&(), Some(namespace)));
    let request = request.list(&ListParams::default().limit(1));
    let request = request.map_err(kube::Error::BuildRequest)?;
    let answer = client.send(request.map(Body::from)).await?;
    let date = answer.headers().get("date");
    Ok(date.and_then(|date| http_date(date.to_str().ok()?)))
}

/// The time in a header, as RFC 9110 5.6.7 has it.
fn http_date(text: &str) -> Option<Timestamp> {
    let parsed = rfc2822::parse(text).ok();
    parsed.map(|zoned| zoned.timestamp())
}

/// How long before `now` the API server recorded the last change of `renewTime`.
fn age(lease: &Lease, now: Timestamp) -> Option<Duration> {
    let entries = lease.metadata.managed_fields.iter().flatten();
    let renewals = entries.filter(|entry| has_renewed(entry));
    let last = renewals
        .filter_map(|entry| Some(entry.time.as_ref()?.0))
        .max()?;
    // Several API servers may differ by a little.
    Some(Duration::try_from(now.duration_since(last)).unwrap_or_default())
}

/// Whether the manager of this entry wrote `spec.renewTime` last: others may have added labels since.
fn has_renewed(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref();
    let spec = fields.and_then(|fields| fields.0.get("f:spec"));
    spec.is_some_and(|spec| spec.get("f:renewTime").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(managed_fields: serde_json::Value) -> Lease {
        let metadata = json!({"name": "directway-agent-a", "managedFields": managed_fields});
        // The agent's clock is wrong by years, which counts for nothing.
        let spec = json!({"renewTime": "1999-01-01T00:00:00.0Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn a_heartbeat_is_as_old_as_the_api_server_says_by_its_own_clock() {
        let now = http_date("Sun, 06 Nov 2044 08:49:37 GMT").unwrap();
        assert_eq!(now.to_string(), "2044-11-06T08:49:37Z");
        let renewed = |time: &str| {
            json!({"manager": "directway-agent", "time": time,
                   "fieldsV1": {"f:spec": {"f:holderIdentity": {}, "f:renewTime": {}}}})
        };
        // Somebody labels the Lease: that is no heartbeat.
        let labelled = json!({"manager": "kubectl", "time": "2044-11-06T08:49:30Z",
                              "fieldsV1": {"f:metadata": {"f:labels": {}}}});
        let old = lease(json!([renewed("2044-11-06T08:47:00Z"), labelled.clone()]));
        assert_eq!(age(&old, now), Some(Duration::from_secs(157)));
        let ahead = lease(json!([renewed("2044-11-06T08:49:39Z")]));
        assert_eq!(age(&ahead, now), Some(Duration::ZERO));
        assert_eq!(age(&lease(json!([labelled])), now), None);
        assert_eq!(age(&lease(json!(null)), now), None);
        assert_eq!(http_date("yesterday"), None);
    }
}
