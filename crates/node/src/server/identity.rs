//! Who a client of the kubelet API is, and whether it may use it.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The API server's identity towards nodes.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// The client of a connection; its certificate was verified by the TLS layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identity {
    /// No certificate.
    Anonymous,
    Certified {
        name: String,
        groups: Vec<String>,
    },
}

impl Identity {
    /// Reads the certificate that the client presented.
    pub(crate) fn of(certificate: Option<&CertificateDer<'_>>) -> Self {
        let Some(certificate) = certificate else { return Self::Anonymous };
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Self::Anonymous };
        let subject = certificate.subject();
        let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
        Self::Certified { name: name.to_owned(), groups: groups.collect() }
    }

    /// Whether the client may use the kubelet API.
    pub(crate) fn is_allowed(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Certified { name, groups } => {
                name == API_SERVER || groups.iter().any(|group| group == MASTERS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, group: &str, allowed: bool) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let certificate = params.self_signed(&key).unwrap();
        let identity = Identity::of(Some(certificate.der()));
        assert_eq!(identity, Identity::Certified { name: name.into(), groups: vec![group.into()] });
        assert_eq!(identity.is_allowed(), allowed, "{identity:?}");
    }

    #[test]
    fn only_the_api_server_and_masters_may() {
        check("kube-apiserver-kubelet-client", "other", true);
        check("admin", "system:masters", true);
        check("system:node:n", "system:nodes", false);
        assert!(!Identity::of(None).is_allowed());
    }
}
