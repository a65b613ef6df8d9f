//! Where a server is and how it is spoken to: what a kubeconfig says.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

/// A server, and the two ways to speak to it.
#[derive(Debug)]
pub(super) struct Server {
    /// `host:port`.
    pub(super) authority: String,
    pub(super) name: ServerName<'static>,
    /// With the client certificate.
    pub(super) as_user: Arc<ClientConfig>,
    /// Without one.
    pub(super) anonymous: Arc<ClientConfig>,
}

impl Server {
    /// The first cluster and the first user of a kubeconfig that holds its certificates.
    pub(super) fn of(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig)
            .unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
        let config: Kubeconfig = serde_saphyr::from_str(&text).unwrap();
        let (cluster, user) = (&config.clusters[0].cluster, &config.users[0].user);
        let authority = cluster.server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let host = authority.rsplit_once(':').expect("the server's URL has a port").0.to_owned();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&cluster.certificate_authority_data) {
            roots.add(certificate).unwrap();
        }
        let roots = Arc::new(roots);
        let key = PrivateKeyDer::from_pem_slice(&decoded(&user.client_key_data)).unwrap();
        let chain = certificates(&user.client_certificate_data);
        let as_user = builder(&roots).with_client_auth_cert(chain, key).unwrap();
        let anonymous = builder(&roots).with_no_client_auth();
        Self {
            authority,
            name: ServerName::try_from(host).unwrap(),
            as_user: Arc::new(as_user),
            anonymous: Arc::new(anonymous),
        }
    }
}

fn builder(
    roots: &Arc<RootCertStore>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.unwrap().with_root_certificates(roots.clone())
}

fn decoded(data: &str) -> Vec<u8> {
    STANDARD.decode(data.split_whitespace().collect::<String>()).unwrap()
}

fn certificates(data: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&decoded(data)).map(Result::unwrap).collect()
}
