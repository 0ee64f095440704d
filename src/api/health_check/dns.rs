//! `spec.healthCheck.dns`.

use std::sync::Arc;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{super::rules, is_name};

/// A DNS query by UDP for the IPv4 addresses of a name. Every answer passes but SERVFAIL.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DnsCheck {
    /// The name of a domain, whole and without a dot at its end. It need not exist; one for which the server need not ask
    /// others tells most of the server itself.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::is_domain())]
    pub name: String,
}

pub fn dns_name(api: Option<&DnsCheck>, problems: &mut Vec<String>) -> Option<Arc<str>> {
    let Some(DnsCheck { name }) = api else {
        problems.push(
            "spec.healthCheck.dns.name: is missing, and type DNS asks for it: use the name of a domain that the real servers know".to_owned(),
        );
        return None;
    };
    if !is_name(name) {
        problems.push(format!(
            "spec.healthCheck.dns.name: \"{name}\" is not the name of a domain: write it as in shop.example, with up to 63 letters, digits, \"-\" and \"_\" between two dots"
        ));
        return None;
    }
    Some(name.as_str().into())
}
