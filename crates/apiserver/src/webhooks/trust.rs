//! Who is believed to be a server: whoever has a certificate of a trusted authority or, as for Go's programs, one that is trusted itself.
//!
//! Many webhooks have a certificate that they have made and signed for themselves, often one that says it is an authority, and it is
//! the whole `caBundle` of their configuration. `webpki` never takes the certificate of an authority for a server's. Go's `x509` takes a
//! certificate that is byte by byte one of the trusted ones without a chain, once its time, its names and its use fit.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use skiff_listener::{Anybody, Judge};
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

/// Whom a server has to be to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Whoever has a certificate of these authorities, in PEM; of those of the system if there are none.
    Bundle(Vec<u8>),
    /// Anybody.
    Anybody,
}

impl Trust {
    /// What verifies servers so.
    ///
    /// # Errors
    /// When nothing can be trusted, in the words of Kubernetes.
    pub(crate) fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        Ok(match self {
            Self::Bundle(bundle) => skiff_listener::verifier(Known::of(bundle)?),
            Self::Anybody => skiff_listener::verifier(Anybody),
        })
    }
}

/// Those who are known.
#[derive(Debug)]
struct Known {
    /// Trusted themselves.
    trusted: Vec<CertificateDer<'static>>,
    /// All else, by chains that lead to these.
    chains: Arc<WebPkiServerVerifier>,
}

impl Known {
    fn of(bundle: &[u8]) -> Result<Self, String> {
        let (mut roots, mut trusted) = (RootCertStore::empty(), Vec::new());
        if bundle.trim_ascii().is_empty() {
            // What cannot be read is left out, as everywhere on this system.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else {
            trusted = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
            let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
            if added == 0 {
                return Err("unable to load root certificates: unable to parse bytes as PEM block".to_owned());
            }
        }
        let provider = Arc::new(ring::default_provider());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let chains = chains.map_err(|error| format!("unable to load root certificates: {error}"))?;
        Ok(Self { trusted, chains })
    }
}

impl Judge for Known {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.trusted.iter().any(|trusted| trusted == certificate) {
            return fits(certificate, name, now);
        }
        let verified = self.chains.verify_server_cert(certificate, others, name, &[], now);
        verified.map(drop).map_err(|error| match error {
            // That an authority shows itself as a server is seen before anything else, and has no word of its own.
            Error::InvalidCertificate(CertificateError::Other(_)) if is_authority(certificate) => {
                Error::InvalidCertificate(CertificateError::UnknownIssuer)
            }
            other => other,
        })
    }
}

fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.is_ca())
}

/// Whether a certificate that is trusted is one of a server of this name, now.
fn fits(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    // Refuses versions and critical extensions that it does not know.
    let for_names = ParsedCertificate::try_from(certificate)?;
    let malformed = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(malformed)?;
    is_valid_at(&parsed, now)?;
    verify_server_name(&for_names, name)?;
    let usage = parsed.extended_key_usage();
    let usage = usage.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    // One that says nothing of its use may be used for anything.
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
    }
    Ok(())
}

fn is_valid_at(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = certificate.validity();
    let moment = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (moment(validity.not_before), moment(validity.not_after));
    let why = if now < not_before {
        CertificateError::NotValidYetContext { time: now, not_before }
    } else if now > not_after {
        CertificateError::ExpiredContext { time: now, not_after }
    } else {
        return Ok(());
    };
    Err(Error::InvalidCertificate(why))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    /// A certificate that has signed itself and says that it is an authority.
    fn own(change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["hook.web.svc".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2030, 1, 1));
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    /// What comes of it if `bundle` is trusted.
    fn verified(bundle: &str, shown: &rcgen::Certificate, name: &str, year: u64) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 86_400));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verifier = Trust::Bundle(bundle.into()).verifier().unwrap();
        verifier.verify_server_cert(shown.der(), &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_certificate_that_is_trusted_itself_is_a_servers() {
        let hook = own(|_| {});
        let name = "hook.web.svc";
        assert_eq!(verified(&hook.pem(), &hook, name, 2025), Ok(()));
        let with_usage = own(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        let both = hook.pem() + &with_usage.pem();
        assert_eq!(verified(&both, &with_usage, name, 2025), Ok(()));
        assert_eq!(verified(&both, &hook, name, 2025), Ok(()));
    }

    #[test]
    fn what_is_trusted_has_to_fit_all_the_same() {
        let hook = own(|_| {});
        let check = |shown: &rcgen::Certificate, name: &str, year: u64, expected: &str| {
            let Err(Error::InvalidCertificate(why)) = verified(&shown.pem(), shown, name, year) else {
                panic!("taken: {expected}")
            };
            assert!(format!("{why:?}").contains(expected), "{why:?}");
        };
        check(&hook, "other.web.svc", 2025, "NotValidForName");
        check(&hook, "hook.web.svc", 2031, "Expired");
        check(&hook, "hook.web.svc", 2019, "NotValidYet");
        let client = own(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        check(&client, "hook.web.svc", 2025, "InvalidPurpose");
    }

    #[test]
    fn one_that_only_looks_the_same_is_not_trusted() {
        let (hook, other) = (own(|_| {}), own(|_| {}));
        assert!(verified(&hook.pem(), &other, "hook.web.svc", 2025).is_err());
    }
}
