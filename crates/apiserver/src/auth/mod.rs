//! Who is asking, and whether they may: authentication, authorisation and the admission checks that
//! depend on the caller.

mod attributes;
pub mod user;

pub use attributes::{Attributes, Decision, Refusal};
pub use user::{PeerIdentity, UserInfo};
