//! Certificates for the keys of others, who ask for them.
//!
//! A certificate is put together from parts of the request as they are in it (subject, public key, alternative names), so that
//! nothing of them is lost or changed.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::SigningKey as _;
use skiff_identity::CertificateRequest;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::prelude::FromDer as _;

use crate::authority::{Authority, SKEW};
use crate::der::{self, INTEGER, OCTETS, SEQUENCE, explicit, tlv};

/// No certificate was made.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The request has a usage that no certificate can say.
    #[error("unrecognized usage values: {0:?}")]
    Usage(Vec<String>),
    /// The request or the authority's certificate cannot be read any more.
    #[error("cannot read {0}")]
    Read(&'static str),
    /// The authority's key does not sign.
    #[error("cannot sign the certificate")]
    Sign(#[source] rcgen::Error),
}

const SUBJECT_ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

/// The usages that are bits of the key usage, by their place.
const BITS: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// The usages that have names of their own.
const PURPOSES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

/// Makes the certificate that a request asks for, in PEM. It is valid for `life` from now, no longer than the authority.
pub(super) fn sign(
    authority: &Authority,
    request: &CertificateRequest,
    usages: &[String],
    now: Timestamp,
    life: SignedDuration,
) -> Result<String, CertificateError> {
    let signed = to_be_signed(authority, request, usages, (now, life))?;
    let signature = authority.key().sign(&signed).map_err(CertificateError::Sign)?;
    let bits = [&[0][..], &signature].concat();
    let certificate = tlv(SEQUENCE, &[signed, algorithm(), tlv(der::BITS, &bits)].concat());
    Ok(der::pem("CERTIFICATE", &certificate))
}

fn algorithm() -> Vec<u8> {
    tlv(SEQUENCE, &der::oid(ECDSA_SHA256))
}

fn to_be_signed(
    authority: &Authority,
    request: &CertificateRequest,
    usages: &[String],
    (now, life): (Timestamp, SignedDuration),
) -> Result<Vec<u8>, CertificateError> {
    let (_, read) = X509CertificationRequest::from_der(&request.der)
        .map_err(|_| CertificateError::Read("the request"))?;
    let info = &read.certification_request_info;
    let (issuer, key_id) = authority.name_and_key_id().ok_or(CertificateError::Read("the authority"))?;
    let end = (now + life).min(authority.not_after());
    let validity = tlv(SEQUENCE, &[time(now - SKEW), time(end)].concat());
    let mut extensions = usage_extensions(usages)?;
    extensions.extend(extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])));
    extensions.extend(extension(AUTHORITY_KEY, false, &tlv(SEQUENCE, &tlv(0x80, &key_id))));
    let is_anonymous = info.subject.iter().next().is_none();
    extensions.extend(
        alternative_names(&read)
            .map(|names| extension(SUBJECT_ALTERNATIVE_NAME, is_anonymous, names))
            .unwrap_or_default(),
    );
    let parts = [
        explicit(0, &tlv(INTEGER, &[2])),
        tlv(INTEGER, authority.fresh_serial().as_ref()),
        algorithm(),
        issuer,
        validity,
        info.subject.as_raw().to_vec(),
        info.subject_pki.raw.to_vec(),
        explicit(3, &tlv(SEQUENCE, &extensions)),
    ];
    Ok(tlv(SEQUENCE, &parts.concat()))
}

/// The alternative names of a request, as they are in it.
fn alternative_names<'r>(request: &'r X509CertificationRequest<'_>) -> Option<&'r [u8]> {
    let attributes = request.certification_request_info.iter_attributes();
    let requested = attributes.filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(requested) => Some(&requested.extensions),
        _ => None,
    });
    let wanted = der::oid(SUBJECT_ALTERNATIVE_NAME);
    requested.flatten().find(|one| wanted.ends_with(one.oid.as_bytes())).map(|one| one.value)
}

fn extension(id: &[u64], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(der::BOOLEAN, &[0xff]) } else { Vec::new() };
    tlv(SEQUENCE, &[der::oid(id), critical, tlv(OCTETS, value)].concat())
}

fn usage_extensions(usages: &[String]) -> Result<Vec<u8>, CertificateError> {
    let mut bits = 0_u16;
    let mut purposes: Vec<&[u64]> = Vec::new();
    let mut unknown = Vec::new();
    for usage in usages {
        if let Some((_, bit)) = BITS.iter().find(|(name, _)| usage == name) {
            bits |= 0x8000 >> bit;
        } else if let Some((_, purpose)) = PURPOSES.iter().find(|(name, _)| usage == name) {
            if !purposes.contains(purpose) {
                purposes.push(purpose);
            }
        } else {
            unknown.push(usage.clone());
        }
    }
    if !unknown.is_empty() {
        return Err(CertificateError::Usage(unknown));
    }
    let mut out = Vec::new();
    if bits != 0 {
        out.extend(extension(KEY_USAGE, true, &der::named_bits(bits)));
    }
    if !purposes.is_empty() {
        let list: Vec<u8> = purposes.into_iter().flat_map(der::oid).collect();
        out.extend(extension(EXTENDED_KEY_USAGE, false, &tlv(SEQUENCE, &list)));
    }
    Ok(out)
}

/// A time: with two digits of the year until 2049, as certificates have to have it.
fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(TimeZone::UTC);
    if at.year() < 2050 {
        tlv(der::UTC_TIME, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(der::TIME, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::X509Certificate;

    use super::*;

    fn request(names: &[&str]) -> CertificateRequest {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "people");
        params.distinguished_name.push(DnType::CommonName, "someone");
        let key = KeyPair::generate().unwrap();
        CertificateRequest::from_pem(params.serialize_request(&key).unwrap().pem().unwrap().as_bytes())
            .unwrap()
    }

    #[test]
    fn certificates_say_what_was_asked_for_and_are_the_authoritys() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::open_or_create(dir.path(), "ca", "kubernetes", now).unwrap();
        let usages = ["digital signature", "client auth"].map(str::to_owned);
        let asked = request(&["a.example.com", "10.0.0.1"]);
        let pem = sign(&authority, &asked, &usages, now, SignedDuration::from_hours(1)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (rest, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
        assert!(rest.is_empty() && authority.has_signed(&certificate));
        assert_eq!(certificate.subject().to_string(), "O=people, CN=someone");
        assert!(!certificate.is_ca());
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.client_auth && !purposes.server_auth);
        let names = certificate.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names.len(), 2);
        let seconds = certificate.validity().not_after.timestamp() - now.as_second();
        assert_eq!(seconds, 3600);
        let after =
            sign(&authority, &asked, &usages, now, SignedDuration::from_hours(24 * 365 * 20)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(after.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
        assert_eq!(certificate.validity().not_after.timestamp(), authority.not_after().as_second());
    }

    #[test]
    fn what_no_certificate_can_say_is_refused() {
        let refused = usage_extensions(&["flying".to_owned()]).unwrap_err().to_string();
        assert_eq!(refused, r#"unrecognized usage values: ["flying"]"#);
    }
}
