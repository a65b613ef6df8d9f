//! Tokens that others have signed (JSON Web Tokens, as of OpenID Connect): whose they are, as an AuthenticationConfiguration
//! says. No I/O: whoever uses this fetches the issuers' keys.
//!
//! - [`Configuration`] is read with all its expressions compiled; what is wrong is told in Kubernetes' words.
//! - [`Token`] takes a token apart, [`Keys`] knows whose signature it bears, and [`Authenticator`] makes a user of what it says.
//! - Signatures are checked by `ring`, and by `p521` those of the one curve that it does not know.

mod authenticator;
mod configuration;
mod distributed;
mod expressions;
mod keys;
mod token;

pub use authenticator::{Authenticator, Claims, Computed, Mapping, Predicate, Rule, Source, discovery_url};
pub use configuration::{Anonymous, Configuration, Flags, SCHEMA};
pub use distributed::Source as ClaimSource;
pub use keys::{ALGORITHMS, Keys};
pub use token::{Token, issuer_of};
