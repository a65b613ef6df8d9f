//! Who a client of the kubelet API says it is.

use http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The API server's identity towards nodes. It asks whether its own clients may before it asks us.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// The client of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identity {
    /// Neither certificate nor token.
    Anonymous,
    /// A certificate that the TLS layer has verified.
    Certified { name: String, groups: Vec<String> },
    /// A bearer token, which the API server has yet to look at.
    Bearer(String),
}

impl Identity {
    /// Reads the certificate that the client presented, or else the token of the request.
    pub(crate) fn of(certificate: Option<&CertificateDer<'_>>, headers: &HeaderMap) -> Self {
        certificate.and_then(certified).or_else(|| bearer(headers)).unwrap_or(Self::Anonymous)
    }

    /// Whether the client may do everything, so that nobody needs to be asked.
    pub(crate) fn is_master(&self) -> bool {
        match self {
            Self::Anonymous | Self::Bearer(_) => false,
            Self::Certified { name, groups } => {
                name == API_SERVER || groups.iter().any(|group| group == MASTERS)
            }
        }
    }
}

fn certified(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    Some(Identity::Certified { name: name.to_owned(), groups: groups.collect() })
}

fn bearer(headers: &HeaderMap) -> Option<Identity> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Identity::Bearer(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, group: &str, master: bool) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let certificate = params.self_signed(&key).unwrap();
        let identity = Identity::of(Some(certificate.der()), &HeaderMap::new());
        assert_eq!(identity, Identity::Certified { name: name.into(), groups: vec![group.into()] });
        assert_eq!(identity.is_master(), master, "{identity:?}");
    }

    #[test]
    fn only_the_api_server_and_masters_need_not_be_asked_about() {
        check("kube-apiserver-kubelet-client", "other", true);
        check("admin", "system:masters", true);
        check("system:node:n", "system:nodes", false);
    }

    #[test]
    fn a_token_is_read_from_its_header_alone() {
        let of = |value: &'static str| {
            let headers = [(header::AUTHORIZATION, http::HeaderValue::from_static(value))];
            Identity::of(None, &headers.into_iter().collect())
        };
        assert_eq!(of("Bearer t"), Identity::Bearer("t".into()));
        assert_eq!(of("bearer  t"), Identity::Bearer("t".into()));
        assert_eq!(of("Basic t"), Identity::Anonymous);
        assert_eq!(of("Bearer "), Identity::Anonymous);
        assert_eq!(Identity::of(None, &HeaderMap::new()), Identity::Anonymous);
        assert!(!of("Bearer t").is_master());
    }
}
