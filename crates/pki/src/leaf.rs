//! A certificate that the authority issues and renews.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::authority::{Authority, timestamp};
use super::files::{self, Durability};
use super::{Credentials, PkiError};

/// One year.
pub(super) const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Which side of a connection a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeafSpec {
    /// File name without `.pem`.
    file: String,
    common_name: String,
    /// Clients: the group. One at most, as the encoder takes one attribute of a kind.
    organization: Option<String>,
    usage: Usage,
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl LeafSpec {
    pub(super) fn new(
        file: &str,
        common_name: &str,
        organization: Option<&str>,
        usage: Usage,
        names: Vec<String>,
        addresses: Vec<IpAddr>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            common_name: common_name.to_owned(),
            organization: organization.map(str::to_owned),
            usage,
            // A machine's name may be anything; what is no DNS name cannot be asked for by TLS.
            names: names.into_iter().filter(|name| !name.is_empty() && name.is_ascii()).collect(),
            addresses: addresses.into_iter().collect(),
        }
    }

    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        if let Some(organization) = &self.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
        }
        for name in &self.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.subject_alt_names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        Ok(params)
    }

    /// Whether a certificate says this.
    fn is_met_by(&self, certificate: &X509Certificate<'_>) -> bool {
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().find_map(|name| name.as_str().ok());
        let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
        let (names, addresses) = alternative_names(certificate);
        common_name == Some(self.common_name.as_str())
            && organizations.eq(self.organization.as_deref())
            && names == self.names
            && addresses == self.addresses
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (BTreeSet<String>, BTreeSet<IpAddr>) {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let general = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    let names = general.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let addresses = general.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok(),
        _ => None,
    });
    (names.collect(), addresses.collect())
}

/// A certificate in use.
struct Current {
    credentials: Credentials,
    key: Arc<CertifiedKey>,
    /// When to issue the next one: two thirds through its life.
    due: Timestamp,
}

/// A certificate that is replaced in place.
pub(super) struct Leaf {
    spec: LeafSpec,
    current: ArcSwap<Current>,
}

impl Leaf {
    /// Takes the one on disk if it fits, is signed by this authority and is not due; else issues one.
    pub(super) fn open(
        dir: &Path,
        authority: &Authority,
        spec: LeafSpec,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let current = take_or_issue(dir, authority, &spec, now)?;
        Ok(Self { spec, current: ArcSwap::from_pointee(current) })
    }

    /// File name without its ending.
    pub(super) fn name(&self) -> &str {
        &self.spec.file
    }

    pub(super) fn spec(&self) -> &LeafSpec {
        &self.spec
    }

    pub(super) fn due(&self) -> Timestamp {
        self.current.load().due
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.current.load().credentials.clone()
    }

    /// For TLS handshakes from now on.
    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().key)
    }

    /// Uses the next certificate from the next handshake on: the one that another process has written meanwhile, or a new one.
    pub(super) fn renew(&self, dir: &Path, authority: &Authority, now: Timestamp) -> Result<(), PkiError> {
        self.current.store(Arc::new(take_or_issue(dir, authority, &self.spec, now)?));
        Ok(())
    }

    /// Uses a new certificate, whatever there is.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn replace(&self, dir: &Path, authority: &Authority, now: Timestamp) -> Result<(), PkiError> {
        self.current.store(Arc::new(issue(dir, authority, &self.spec, now)?));
        Ok(())
    }
}

/// The certificate on disk if it fits, is signed by this authority and is not due; else a new one, which is written there.
fn take_or_issue(
    dir: &Path,
    authority: &Authority,
    spec: &LeafSpec,
    now: Timestamp,
) -> Result<Current, PkiError> {
    let path = dir.join(format!("{}.pem", spec.file));
    match files::read(&path)?.and_then(|text| usable(&text, spec, authority, now)) {
        Some(current) => Ok(current),
        None => issue(dir, authority, spec, now),
    }
}

fn issue(dir: &Path, authority: &Authority, spec: &LeafSpec, now: Timestamp) -> Result<Current, PkiError> {
    let refused = |source| PkiError::Issue { name: spec.file.clone(), source };
    let params = spec.params().map_err(refused)?;
    let credentials = authority.issue(params, now, LIFE).map_err(refused)?;
    let text = format!("{}{}", credentials.certificate, credentials.key);
    let current = load(&credentials)
        .map_err(|reason| PkiError::Damaged { path: dir.join(&spec.file), reason: reason.to_string() })?
        .0;
    files::write(&dir.join(format!("{}.pem", spec.file)), &text, Durability::Derived)?;
    Ok(current)
}

/// The certificate of a file, unless it has to be replaced.
fn usable(text: &str, spec: &LeafSpec, authority: &Authority, now: Timestamp) -> Option<Current> {
    let key_start = text.find("-----BEGIN PRIVATE KEY-----")?;
    let (certificate, key) = text.split_at(key_start);
    let credentials = Credentials { certificate: certificate.to_owned(), key: key.to_owned() };
    let (current, der) = load(&credentials).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let signed = authority.has_signed(&parsed);
    (signed && spec.is_met_by(&parsed) && now < current.due).then_some(current)
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Pem(#[from] rustls_pki_types::pem::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Certificate(#[from] x509_parser::nom::Err<x509_parser::error::X509Error>),
}

fn load(credentials: &Credentials) -> Result<(Current, CertificateDer<'static>), LoadError> {
    let der = CertificateDer::from_pem_slice(credentials.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes())?;
    let provider = rustls::crypto::ring::default_provider();
    let key = Arc::new(CertifiedKey::from_der(vec![der.clone()], key, &provider)?);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der)?;
    let validity = parsed.validity();
    let due = two_thirds(timestamp(validity.not_before), timestamp(validity.not_after));
    Ok((Current { credentials: credentials.clone(), key, due }, der))
}

fn two_thirds(start: Timestamp, end: Timestamp) -> Timestamp {
    start + end.duration_since(start) * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(two_thirds(at(1000), at(1300)), at(1200));
    }
}
