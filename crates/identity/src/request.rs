//! What is asked for by somebody who wants a certificate: a PKCS #10 request in PEM.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It is no PEM, or PEM of something else.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    NoRequest,
    /// What is in the PEM is no request.
    #[error("x509: malformed certificate request")]
    Malformed,
    /// Whoever made it has not the key that it is for.
    #[error("x509: invalid signature: parent certificate cannot sign this kind of certificate")]
    Signature,
}

/// A request whose signature is right: whoever made it has the key that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The whole of it.
    pub der: Vec<u8>,
    /// The common name of its subject; empty if it has none.
    pub common_name: String,
    /// The organizations of its subject.
    pub organizations: Vec<String>,
    /// The DNS names that it is for.
    pub names: Vec<String>,
    /// The addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// How many addresses of mail it is for.
    pub mails: usize,
    /// How many URIs it is for.
    pub uris: usize,
}

impl CertificateRequest {
    /// Reads a request as objects have it: the PEM in base64.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn from_base64(text: &str) -> Result<Self, RequestError> {
        Self::from_pem(&STANDARD.decode(text).map_err(|_| RequestError::NoRequest)?)
    }

    /// Reads a request in PEM.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        let (_, pem) = parse_x509_pem(text).map_err(|_| RequestError::NoRequest)?;
        if pem.label != "CERTIFICATE REQUEST" {
            return Err(RequestError::NoRequest);
        }
        let (_, request) =
            X509CertificationRequest::from_der(&pem.contents).map_err(|_| RequestError::Malformed)?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let subject = &request.certification_request_info.subject;
        let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
        let mut read = Self {
            common_name: subject
                .iter_common_name()
                .find_map(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            organizations: organizations.map(str::to_owned).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| read.take(name));
            }
        }
        read.der = pem.contents;
        Ok(read)
    }

    fn take(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.names.push((*name).to_owned()),
            GeneralName::RFC822Name(_) => self.mails += 1,
            GeneralName::URI(_) => self.uris += 1,
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                self.addresses.extend(address);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of `O=people, CN=someone.example.com`.
    const REQUEST: &str = concat!(
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1JBZ0VBTUM4eER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFY01Cb0dB",
        "MVVFQXd3VGMyOXRaVzl1WlM1bAplR0Z0Y0d4bExtTnZiVEJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCRWZOdXpGQUY5NC9t",
        "ZXA0CkRjRnZmM1VHVGRMQ1NQY3doMWFaeFJhQnl6NXlRVERQS1p6K2ZZcExxejIzMjROcFFnZWtWTURYWTJhQ2lhTWkKNjNjL3lwZWdBREFL",
        "QmdncWhrak9QUVFEQWdOSUFEQkZBaUVBbTFOSkgzUkRJR2tRTmxZc0VtRkU1UkhZNnBoSgo4ajdiK0x0ZDlBWWRxblFDSUNKa1hma1Q4cjhL",
        "VzF6Y2xxazQ1dXRucFFReGliOExBaGh2S0Naei9WRmEKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==",
    );

    #[test]
    fn requests_are_read_and_their_signature_verified() {
        let request = CertificateRequest::from_base64(REQUEST).unwrap();
        assert_eq!(
            (request.common_name.as_str(), &*request.organizations),
            ("someone.example.com", &["people".to_owned()][..])
        );
        let refused = |text: &str| CertificateRequest::from_base64(text).unwrap_err();
        assert_eq!(refused(""), RequestError::NoRequest);
        assert_eq!(refused("YQ=="), RequestError::NoRequest);
        let text = String::from_utf8(STANDARD.decode(REQUEST).unwrap()).unwrap();
        let other = STANDARD.encode(text.replace("CERTIFICATE REQUEST", "CERTIFICATE"));
        assert_eq!(refused(&other), RequestError::NoRequest);
        // Another character of the subject.
        let forged = STANDARD.encode(text.replacen("nBlb3BsZ", "nBlb3Bsa", 1));
        assert!(CertificateRequest::from_base64(&forged).is_err());
    }
}
