//! What Kubernetes' own API server answers, and whether another server answers the same.
//!
//! `tests/oracle/scenarios.jsonl.zst` holds scenarios: requests with the answers of kube-apiserver, recorded by
//! `cargo xtask oracle record` (`tests/oracle/README.md` tells how). [`replay`] sends the same requests to a cluster
//! and compares answer by answer: status code, media type, warnings, and every field of the body. What no two servers
//! can agree on, such as times and UIDs, is made equal on both sides first (`normal.rs`).

mod client;
mod compare;
mod credentials;
mod normal;
mod record;
mod replay;
mod run;
mod scenario;
mod show;
mod standing;

pub use compare::Difference;
pub use record::{pack, record};
pub use replay::{Outcome, Replay, Verdict, replay};
pub use scenario::{Scenario, recorded};
pub use show::check;
pub use standing::Standing;
