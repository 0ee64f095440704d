//! HTTP requests inside TLS, and why TLS fails, in words.

use std::{collections::BTreeMap, error::Error, io, net::SocketAddr, sync::Arc};

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, DnsName, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

use super::{Bounded, http};
use crate::{
    api,
    health::Failure,
    model::{HttpsRequest, Verification},
};

/// How many CAs' configurations are kept at most. With more, all are made anew.
const MOST_CONFIGS: usize = 1024;

/// What is made once of each policy, and not for each check.
#[derive(Debug)]
pub struct TlsConfigs {
    provider: Arc<CryptoProvider>,
    /// By the CAs' certificates.
    by_ca: BTreeMap<Arc<str>, Arc<ClientConfig>>,
    unverified: Option<Arc<ClientConfig>>,
}

impl Default for TlsConfigs {
    fn default() -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            by_ca: BTreeMap::new(),
            unverified: None,
        }
    }
}

impl TlsConfigs {
    /// The configuration of a connection whose certificate is verified in this way.
    pub fn of(&mut self, verification: &Verification) -> io::Result<Arc<ClientConfig>> {
        let known = match verification {
            Verification::Off => self.unverified.as_ref(),
            Verification::ByCa(ca) => self.by_ca.get(ca),
        };
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(self.make(verification)?);
        match verification {
            Verification::Off => self.unverified = Some(Arc::clone(&config)),
            Verification::ByCa(ca) => {
                if self.by_ca.len() >= MOST_CONFIGS {
                    self.by_ca.clear();
                }
                self.by_ca.insert(Arc::clone(ca), Arc::clone(&config));
            }
        }
        Ok(config)
    }

    /// Forgets the configurations of CAs that no VirtualService names any more.
    pub fn forget_unused(&mut self) {
        // A text that a policy was read with has more owners than this table.
        self.by_ca.retain(|ca, _| Arc::strong_count(ca) > 1);
    }

    fn make(&self, verification: &Verification) -> io::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = match verification {
            Verification::Off => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(&self.provider))))
                .with_no_client_auth(),
            Verification::ByCa(ca) => builder
                .with_root_certificates(api::authorities(ca).map_err(io::Error::other)?)
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session that is resumed has no certificate, so that one that has expired since would not be noticed.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Begins TLS, and sends the request inside it.
pub async fn exchange(
    stream: Bounded,
    at: SocketAddr,
    https: &HttpsRequest,
    config: &Arc<ClientConfig>,
) -> Result<(), Failure> {
    let name = name(https, at)?;
    let connector = TlsConnector::from(Arc::clone(config));
    match connector.connect(name, stream).await {
        Ok(stream) => http::exchange(stream, at, &https.http).await,
        Err(error) => Err(failure_within(&error).unwrap_or_else(|| interrupted(&error))),
    }
}

/// The name that the certificate must have.
fn name(https: &HttpsRequest, at: SocketAddr) -> Result<ServerName<'static>, Failure> {
    let Some(name) = https.name() else {
        return Ok(ServerName::IpAddress(at.ip().into()));
    };
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let name = DnsName::try_from(name.to_owned());
    name.map(ServerName::DnsName)
        .map_err(|error| Failure::tls(&format!("spec.healthCheck.tls.serverName: {error}")))
}

/// The connection ended before TLS had begun.
fn interrupted(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            Failure::tls("the connection was closed during the TLS handshake")
        }
        _ => Failure::tls(&format!("no TLS handshake: {error}")),
    }
}

/// The failure of TLS that is a cause of `error`, if there is one.
pub fn failure_within(error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Failure::tls(&words(error)));
        }
        // Of an error of I/O, the cause is the one that the error within it has.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = inner.map_or_else(
            || error.source(),
            |inner| Some(inner as &(dyn Error + 'static)),
        );
    }
    None
}

/// Without anything that differs from one check to the next, such as the time, and without what the other side can choose.
fn words(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(error) => certificate_words(error),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the real server asks for a certificate of the client, which a check does not have"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the real server does not know the name that it is asked for: set spec.healthCheck.tls.serverName"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("the real server ended the TLS handshake: {alert:?}"),
        Error::InvalidMessage(_) => "what the real server sent is not TLS".to_owned(),
        Error::PeerIncompatible(_) => {
            "the real server speaks neither TLS 1.2 nor TLS 1.3 as a check does".to_owned()
        }
        other => format!("no TLS: {other}"),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    let date = |time: &UnixTime| {
        let second = i64::try_from(time.as_secs()).ok();
        let time = second.and_then(|second| Timestamp::from_second(second).ok());
        time.map_or_else(|| "a time of no calendar".to_owned(), |it| it.to_string())
    };
    match error {
        CertificateError::Expired => "the certificate has expired: renew it there".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}: renew it there", date(not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", date(not_before))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the certificate is not signed by a CA of spec.healthCheck.tls.ca, or intermediate certificates are not sent with it".to_owned()
        }
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, .. } => format!(
            "the certificate is not for {}: set spec.healthCheck.tls.serverName to a name that it has",
            expected.to_str()
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one for servers (extendedKeyUsage)".to_owned()
        }
        other => {
            let words = other.to_string();
            // rustls has no word of its own for it; that of its library is in a test.
            if words.contains("CaUsedAsEndEntity") {
                return "the certificate is a CA's (basicConstraints CA:TRUE), which a server must not have: make one with CA:FALSE".to_owned();
            }
            format!("the certificate cannot be accepted: {words}")
        }
    }
}
