//! TLS to webhooks and extension servers: whom they have to be, and what they are shown.

use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, Error};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use skiff_recent::Recent;

use super::dial::system_error;
use super::trust::Trust;

/// So many configurations are kept, as many as Kubernetes keeps clients.
const KEPT: usize = 200;

/// A client certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Whom a configuration believes, and what it shows.
type Sides = (Trust, Option<Identity>);

/// TLS configurations by both sides.
pub(super) struct Configs(Recent<Sides, Arc<ClientConfig>>);

impl Default for Configs {
    fn default() -> Self {
        Self(Recent::new(KEPT))
    }
}

impl Configs {
    /// The configuration that believes these servers, and shows this certificate.
    pub(super) fn of(&self, trust: &Trust, shown: Option<&Identity>) -> Result<Arc<ClientConfig>, String> {
        let sides = (trust.clone(), shown.cloned());
        if let Some(known) = self.0.get(&sides) {
            return Ok(known);
        }
        let certified = shown.map(certified).transpose()?;
        let resolver =
            certified.map(|one| Arc::new(SingleCertAndKey::from(one)) as Arc<dyn ResolvesClientCert>);
        let made = Arc::new(config(trust, resolver)?);
        self.0.insert(sides, made.clone());
        Ok(made)
    }
}

/// The configuration of a client that believes these servers, and shows this certificate.
pub(crate) fn config(
    trust: &Trust,
    shown: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| format!("tls: {error}"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(trust.verifier()?);
    let mut config = match shown {
        Some(resolver) => builder.with_client_cert_resolver(resolver),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A client certificate with its key, which have to belong together.
pub(super) fn certified(identity: &Identity) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.certificate)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(unreadable)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
        other => format!("tls: {other}"),
    })
}

fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "tls: failed to find any PEM data in key input".to_owned(),
        other => format!("tls: {other}"),
    }
}

/// Why there is no secure connection, as messages of Kubernetes have it.
pub(crate) fn explain(error: &io::Error) -> String {
    let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        return if ended { "EOF".to_owned() } else { system_error(error) };
    };
    match refused {
        Error::InvalidCertificate(why) => {
            format!("tls: failed to verify certificate: x509: {}", of_certificate(why))
        }
        Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Error::AlertReceived(alert) => format!("remote error: tls: {alert:?}"),
        other => format!("tls: {other}"),
    }
}

fn of_certificate(why: &CertificateError) -> String {
    let expired = "certificate has expired or is not yet valid: ";
    match why {
        // An authority of the same name with another key is another one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{expired}current time {} is after {}", moment(*time), moment(*not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{expired}current time {} is before {}", moment(*time), moment(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let wanted = expected.to_str();
            let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
            if names.is_empty() {
                format!("certificate is not valid for any names, but wanted to match {wanted}")
            } else {
                format!("certificate is valid for {}, not {wanted}", names.join(", "))
            }
        }
        other => other.to_string(),
    }
}

/// `a.example.com` of `DnsName("a.example.com")`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    skiff_registry::timestamp(time)
}
