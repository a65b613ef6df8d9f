//! The directory's life: first start, restart, renewal, damage.

use std::os::unix::fs::PermissionsExt;

use jiff::SignedDuration;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use skiff_identity::PeerIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn subject(advertise: [u8; 4]) -> PkiSubject {
    PkiSubject {
        advertise_address: advertise.into(),
        service_address: [10, 96, 0, 1].into(),
        host_name: "machine".to_owned(),
        domain: "cluster.local".to_owned(),
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn days(number: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * number)
}

#[test]
fn a_restart_finds_the_same_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki");
    let first = Pki::open_at(&path, &subject([192, 0, 2, 1]), now()).unwrap();
    let second = Pki::open_at(&path, &subject([192, 0, 2, 1]), now()).unwrap();
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_eq!(first.admin().certificate, second.admin().certificate);
    assert_eq!(first.token_keys().signing().id(), second.token_keys().signing().id());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_new_address_renews_the_serving_certificate_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now()).unwrap();
    let second = Pki::open_at(dir.path(), &subject([192, 0, 2, 2]), now()).unwrap();
    assert_ne!(first.api_server.credentials().certificate, second.api_server.credentials().certificate);
    assert_eq!(first.admin().certificate, second.admin().certificate);
}

#[test]
fn the_authority_of_front_proxies_is_another_and_is_made_again_when_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let open = |at: Timestamp| Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), at).unwrap();
    let shown = |pki: &Pki| {
        let text = pki.front_proxy_client.credentials().certificate;
        CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
    };
    let first = open(now());
    assert!(first.is_front_proxy(&shown(&first)));
    let admin = CertificateDer::from_pem_slice(first.admin().certificate.as_bytes()).unwrap();
    assert!(!first.is_front_proxy(&admin));
    assert_eq!(open(now()).front_proxy_ca_pem(), first.front_proxy_ca_pem());
    std::fs::write(dir.path().join("front-proxy-ca.key"), "").unwrap();
    let second = open(now());
    assert_ne!(second.front_proxy_ca_pem(), first.front_proxy_ca_pem());
    assert_eq!(second.ca_pem(), first.ca_pem());
    assert!(second.is_front_proxy(&shown(&second)) && !second.is_front_proxy(&shown(&first)));
}

#[test]
fn certificates_renew_after_two_thirds_of_their_life() {
    let dir = tempfile::tempdir().unwrap();
    let start = now();
    let pki = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), start).unwrap();
    let first = pki.admin().certificate;
    let due = pki.renew_due(start + days(200)).unwrap();
    assert_eq!(pki.admin().certificate, first, "nothing is due yet");
    assert!((start + days(243)..start + days(244)).contains(&due), "due at {due}");
    let next = pki.renew_due(due).unwrap();
    assert_ne!(pki.admin().certificate, first);
    assert!(next > due + days(200));
    let reopened = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), due).unwrap();
    assert_eq!(reopened.admin().certificate, pki.admin().certificate, "the renewed one is on disk");
}

#[test]
fn two_processes_renew_a_certificate_once() {
    let dir = tempfile::tempdir().unwrap();
    let start = now();
    let open = || Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), start).unwrap();
    let (server, agent) = (open(), open());
    let due = server.renew_due(start).unwrap();
    server.renew_due(due).unwrap();
    agent.renew_due(due).unwrap();
    assert_eq!(agent.admin().certificate, server.admin().certificate);
}

#[test]
fn damage_is_repaired_where_nothing_is_lost_and_named_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now());
    open().unwrap();
    std::fs::write(dir.path().join("admin.pem"), "rubbish").unwrap();
    open().expect("a leaf is issued again");
    let check = |file: &str, damage: &dyn Fn(&Path), text: &str| {
        let path = dir.path().join(file);
        let before = std::fs::read(&path).unwrap();
        damage(&path);
        let error = open().err().expect("what cannot be made again is not replaced").to_string();
        assert!(error.contains(file) && error.contains(text), "{error}");
        std::fs::write(&path, before).unwrap();
    };
    check("sa.key", &|path| std::fs::write(path, "rubbish").unwrap(), "is damaged");
    check("ca.crt", &|path| std::fs::write(path, "rubbish").unwrap(), "is damaged");
    check("ca.key", &|path| std::fs::remove_file(path).unwrap(), "is missing");
    open().expect("the directory is whole again");
}

#[test]
fn the_authority_limits_what_it_issues() {
    let dir = tempfile::tempdir().unwrap();
    let start = now();
    let open = |day| Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), start + days(day));
    open(0).unwrap();
    let late = open(3600).unwrap();
    assert!(late.admin.due() < start + days(3650), "no leaf outlives the authority");
    let error = open(3650).err().expect("nothing can be issued any more").to_string();
    assert!(error.contains("ca.crt expired on"), "{error}");
}

#[test]
fn node_names_cannot_leave_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now()).unwrap();
    assert!(matches!(pki.node_client_tls("../x"), Err(PkiError::NodeName(_))));
}

#[tokio::test]
async fn both_sides_verify_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now()).unwrap();
    let server = tokio_rustls::TlsAcceptor::from(pki.api_server_tls().unwrap());
    let client = tokio_rustls::TlsConnector::from(pki.node_client_tls("n1").unwrap());
    for name in ["10.96.0.1", "192.0.2.1", "127.0.0.1", "localhost", "kubernetes.default.svc.cluster.local"] {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let name = ServerName::try_from(name).unwrap();
        let (near, far) = tokio::join!(client.connect(name, near), server.accept(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        let peer = &far.get_ref().1.peer_certificates().unwrap()[0];
        let peer = PeerIdentity::from_certificate(peer).unwrap();
        assert_eq!(peer.common_name, "system:node:n1");
        assert_eq!(peer.organizations, ["system:nodes"]);
    }
}

/// The certificates that both sides of a new connection show: the client's and the server's.
async fn shown(
    connector: &tokio_rustls::TlsConnector,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> [CertificateDer<'static>; 2] {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    // What the server gives to take the session up again comes before what it says.
    far.write_all(b"x").await.unwrap();
    near.read_u8().await.unwrap();
    let client = far.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let server = near.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    [client, server]
}

#[tokio::test]
async fn who_connects_after_a_renewal_meets_new_certificates_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now()).unwrap();
    let server = tokio_rustls::TlsAcceptor::from(pki.api_server_tls().unwrap());
    let mut sides = Vec::new();
    for tls in [pki.node_client_tls("n1"), pki.service_account_client_tls("kube-system", "p")] {
        sides.push(tokio_rustls::TlsConnector::from(tls.unwrap()));
    }
    let mut before = Vec::new();
    for side in &sides {
        before.push(shown(side, &server).await);
    }
    pki.renew_all(now()).unwrap();
    for (side, [client, api_server]) in sides.iter().zip(before) {
        let [new_client, new_api_server] = shown(side, &server).await;
        assert_ne!(new_client, client);
        assert_ne!(new_api_server, api_server);
    }
}

#[test]
fn admin_is_a_master() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::open_at(dir.path(), &subject([192, 0, 2, 1]), now()).unwrap();
    let certificate = CertificateDer::from_pem_slice(pki.admin().certificate.as_bytes()).unwrap();
    let user = PeerIdentity::from_certificate(&certificate).unwrap().user();
    assert_eq!(user.name, "skiff-admin");
    assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
}
