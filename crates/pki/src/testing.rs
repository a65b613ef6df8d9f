//! Certificates for tests. Behind the feature `testing`, which only tests enable.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{Pki, PkiSubject};

/// New certificates below a directory, of an API server that says it is at `address`.
///
/// # Panics
///
/// When they cannot be made.
pub fn pki(dir: &Path, address: IpAddr) -> Arc<Pki> {
    let subject = PkiSubject {
        advertise_address: address,
        service_address: [10, 96, 0, 1].into(),
        host_name: "test".to_owned(),
        domain: "cluster.local".to_owned(),
    };
    Arc::new(Pki::open_or_create(&dir.join("pki"), &subject).expect("new certificates"))
}

/// Renews every certificate now, due or not.
///
/// # Panics
///
/// When they cannot be made.
pub fn renew(pki: &Pki) {
    pki.renew_all(Timestamp::now()).expect("new certificates");
}
