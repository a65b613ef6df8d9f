//! The certificate authority: a self-signed certificate, its key, and what it issues.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::X509Certificate;

use super::files::{self, Durability};
use super::{Credentials, PkiError};

/// Ten years.
const LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Certificates are valid from a little before they are made, for clients whose clock is behind.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(5);

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    roots: Arc<RootCertStore>,
    not_after: Timestamp,
}

impl Authority {
    /// Reads `<name>.crt` and `<name>.key`, or makes them. The key is written first: a key without a certificate
    /// has issued nothing and is replaced.
    pub(super) fn open_or_create(
        dir: &Path,
        name: &str,
        common_name: &str,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let paths = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        let (certificate_path, key_path) = paths.clone();
        let Some(certificate) = files::read(&certificate_path)? else {
            return Self::make(name, common_name, paths, now, Durability::Kept);
        };
        let Some(key) = files::read(&key_path)? else {
            return Err(PkiError::NoAuthorityKey { path: key_path });
        };
        let authority = Self::load(&certificate, &key, paths)?;
        if now >= authority.not_after {
            return Err(PkiError::Expired { path: certificate_path, not_after: authority.not_after });
        }
        Ok(authority)
    }

    /// As [`Authority::open_or_create`], for one that clients learn anew from the API: it is made again when it is
    /// missing, damaged or expired.
    pub(super) fn open_or_remake(
        dir: &Path,
        name: &str,
        common_name: &str,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let paths = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        if let (Ok(Some(certificate)), Ok(Some(key))) = (files::read(&paths.0), files::read(&paths.1))
            && let Ok(authority) = Self::load(&certificate, &key, paths.clone())
            && now < authority.not_after
        {
            return Ok(authority);
        }
        Self::make(name, common_name, paths, now, Durability::Derived)
    }

    fn make(
        name: &str,
        common_name: &str,
        (certificate, key): (PathBuf, PathBuf),
        now: Timestamp,
        durability: Durability,
    ) -> Result<Self, PkiError> {
        let made = create(common_name, now);
        let made = made.map_err(|source| PkiError::Issue { name: name.to_owned(), source })?;
        files::write(&key, &made.key, durability)?;
        files::write(&certificate, &made.certificate, durability)?;
        Self::load(&made.certificate, &made.key, (certificate, key))
    }

    fn load(
        certificate: &str,
        key: &str,
        (certificate_path, key_path): (PathBuf, PathBuf),
    ) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (&certificate_path, &key_path);
        let damaged = |path: &Path, reason: &dyn std::fmt::Display| PkiError::Damaged {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let key = KeyPair::from_pem(key).map_err(|e| damaged(key_path, &e))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|e| damaged(certificate_path, &e))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|e| damaged(certificate_path, &e))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            let reason = format!("it does not belong to {}", certificate_path.display());
            return Err(damaged(key_path, &reason));
        }
        let not_after = timestamp(parsed.validity().not_after);
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).map_err(|e| damaged(certificate_path, &e))?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| damaged(certificate_path, &e))?;
        Ok(Self { issuer, certificate_pem: certificate.to_owned(), roots: Arc::new(roots), not_after })
    }

    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// The key that it signs with.
    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Until when its certificate, and all that it issues, is valid.
    pub(super) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A serial number for the next certificate.
    pub(super) fn fresh_serial(&self) -> SerialNumber {
        serial()
    }

    /// Its name and the identifier of its key, as its certificate has them; none if that has no identifier.
    pub(super) fn name_and_key_id(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let der = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
        let id = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Some((parsed.subject().as_raw().to_vec(), id?))
    }

    /// Whether a certificate was issued with this authority's key.
    pub(super) fn has_signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let point = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.issuer.key().public_key_raw());
        let signature = certificate.signature_value.data.as_ref();
        point.verify(certificate.tbs_certificate.as_ref(), signature).is_ok()
    }

    /// Signs a certificate for a fresh key. It lives for `life`, and no longer than the authority.
    pub(super) fn issue(
        &self,
        mut params: CertificateParams,
        now: Timestamp,
        life: SignedDuration,
    ) -> Result<Credentials, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        set_validity(&mut params, now - SKEW, (now + life).min(self.not_after));
        params.serial_number = Some(serial());
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credentials { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn create(common_name: &str, now: Timestamp) -> Result<Credentials, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    set_validity(&mut params, now - SKEW, now + LIFE);
    params.serial_number = Some(serial());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Credentials { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Whole seconds; times before 1970 become 1970.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let since_1970 = |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(not_before);
    params.not_after = epoch + since_1970(not_after);
}

/// 127 random bits: unique, and positive as a DER integer.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] &= 0x7f;
    bytes[0] |= 0x40;
    SerialNumber::from_slice(&bytes)
}

pub(super) fn timestamp(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}
