//! `spec.healthCheck.tls`.

use kube::KubeSchema;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    super::rules,
    http::{HttpCheck, http_request},
    is_certificate_name,
};
use crate::model::{HttpsRequest, Verification};

/// How a real server's certificate is verified.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::insecure_needs_no_ca())]
pub struct TlsCheck {
    /// The certificates of the CAs of which one must have signed the real server's, in PEM. Directors know no other ones. A
    /// certificate that is its own CA must not say CA:TRUE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    #[x_kube(validation = rules::ca_has_a_certificate())]
    #[x_kube(validation = rules::ca_has_no_key())]
    pub ca: Option<String>,
    /// Whether any certificate will do, even one that has expired.
    #[serde(default)]
    pub insecure: bool,
    /// The name or address that the certificate must have; a name is sent to the real server, too (SNI). Default: that of
    /// spec.healthCheck.http.host, or else the real server's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::is_server_name())]
    pub server_name: Option<String>,
}

/// Why a text is not the certificates of CAs.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCa {
    /// It has none at all.
    #[error("has no certificate")]
    Empty,
    /// It has a key that others must not see.
    #[error("has a private key, which everybody who may read the VirtualService would see")]
    Key,
    /// It is not PEM.
    #[error("is not PEM: {0}")]
    Pem(pem::Error),
    /// It is PEM of something else: the number of the certificate, from one on, and why.
    #[error("certificate {0} is none: {1}")]
    Certificate(usize, rustls::Error),
}

/// Reads the certificates of CAs in PEM.
///
/// # Errors
/// If there is none, one cannot be read, or there is a private key among them.
pub fn authorities(text: &str) -> Result<RootCertStore, InvalidCa> {
    if text.contains("PRIVATE KEY") {
        return Err(InvalidCa::Key);
    }
    let mut store = RootCertStore::empty();
    for (certificate, number) in CertificateDer::pem_slice_iter(text.as_bytes()).zip(1..) {
        let certificate = certificate.map_err(InvalidCa::Pem)?;
        let added = store.add(certificate);
        added.map_err(|error| InvalidCa::Certificate(number, error))?;
    }
    match store.is_empty() {
        true => Err(InvalidCa::Empty),
        false => Ok(store),
    }
}

pub fn https_request(
    http: Option<&HttpCheck>,
    tls: Option<&TlsCheck>,
    problems: &mut Vec<String>,
) -> Option<HttpsRequest> {
    let none = TlsCheck::default();
    let TlsCheck {
        ca,
        insecure,
        server_name,
    } = tls.unwrap_or(&none);
    if let Some(name) = server_name.as_ref().filter(|it| !is_certificate_name(it)) {
        problems.push(format!(
            "spec.healthCheck.tls.serverName: \"{name}\" is neither a host name nor an IP address: write it as in shop.example or 192.0.2.10, without a port"
        ));
    }
    if let Some(Err(error)) = ca.as_ref().map(|it| authorities(it)) {
        problems.push(format!(
            "spec.healthCheck.tls.ca: {error}: use the CA's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
        ));
    }
    let verification = match (ca, insecure) {
        (Some(ca), false) => Some(Verification::ByCa(ca.as_str().into())),
        (None, true) => Some(Verification::Off),
        (None, false) => {
            problems.push(
                "spec.healthCheck.tls.ca: is missing, and type HTTPS verifies certificates by it alone: put the CA's certificate there in PEM, or set spec.healthCheck.tls.insecure to true".to_owned(),
            );
            None
        }
        (Some(_), true) => {
            problems.push(
                "spec.healthCheck.tls.insecure: is true, so that ca means nothing: remove one of them".to_owned(),
            );
            None
        }
    };
    Some(HttpsRequest {
        http: http_request(http, problems)?,
        server_name: server_name.clone(),
        verification: verification?,
    })
}

pub fn tls_of(request: &HttpsRequest) -> TlsCheck {
    let (ca, insecure) = match &request.verification {
        Verification::Off => (None, true),
        Verification::ByCa(ca) => (Some(ca.to_string()), false),
    };
    TlsCheck {
        ca,
        insecure,
        server_name: request.server_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("../../../tests/tls/ca.pem");
    const OTHER_CA: &str = include_str!("../../../tests/tls/other-ca.pem");

    #[test]
    fn what_is_no_certificate_is_refused_in_words() {
        assert_eq!(authorities(CA).unwrap().len(), 1);
        let both = format!("# Ours\n{CA}\n# Theirs\n{OTHER_CA}");
        assert_eq!(authorities(&both).unwrap().len(), 2);
        let (begin, end) = (
            "-----BEGIN CERTIFICATE-----\n",
            "-----END CERTIFICATE-----\n",
        );
        for (text, words) in [
            ("our-ca".to_owned(), "has no certificate"),
            (begin.to_owned(), "is not PEM"),
            (format!("{begin}!{end}"), "is not PEM"),
            (format!("{begin}AAAA\n{end}"), "certificate 1 is none"),
            (format!("{CA}{begin}AAAA\n{end}"), "certificate 2 is none"),
            (CA.replace("MII", "MIJ"), "certificate 1 is none"),
        ] {
            let error = authorities(&text).unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
            assert!(!error.contains('\n') && error.len() < 200, "{error}");
            let tls = TlsCheck {
                ca: Some(text),
                ..TlsCheck::default()
            };
            let mut problems = Vec::new();
            https_request(None, Some(&tls), &mut problems);
            let [problem] = problems.as_slice() else {
                panic!("{problems:?}");
            };
            assert!(
                problem.starts_with("spec.healthCheck.tls.ca: "),
                "{problem}"
            );
        }
    }
}
