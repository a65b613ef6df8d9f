//! What first objects say of their cluster, and why they could not be written.

use skiff_machinery::GroupVersion;
use skiff_store::{CommitError, Key, ReadError};
use thiserror::Error;

/// The cluster's own facts in its first objects.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The ranges of Service addresses, e.g. `10.96.0.0/12`; at most one for each address family.
    pub service_cidrs: Vec<String>,
    /// The authority that client certificates are verified against, PEM.
    pub client_ca_pem: String,
    /// The authority that the certificates of front proxies are verified against, PEM.
    pub front_proxy_ca_pem: String,
    /// The group versions that are built in.
    pub versions: Vec<GroupVersion>,
}

/// The first objects could not be written.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The store cannot be read.
    #[error("cannot read the objects that every cluster has")]
    Read(#[from] ReadError),
    /// The store does not take the transaction.
    #[error("cannot write the objects that every cluster has")]
    Commit(#[from] CommitError),
    /// An object in the store cannot be decoded.
    #[error("the stored object at {key} is damaged")]
    Damaged {
        /// Its key.
        key: Key,
        /// Why.
        source: serde_json::Error,
    },
}
